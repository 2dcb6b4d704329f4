"""An empty volume takes what the image has at its place, with owners, modes and links, as docker's does.

The copy goes into the volume's own folder, because that may be a mount point, and another container may have it
mounted: what is put in its place would be seen by nobody. So that a killed engine leaves no volume half-filled, a
marker stands beside the folder as long as the copy isn't whole; the next container that would fill it goes on. What
has a name in the volume is whole, or was written by a container: it stays.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat

from guest_agent.linux.paths import open_in_root

#: What is being copied has this name until it is whole.
_GROWING = ".hostvm-growing"


def wants_filling(volume: str) -> bool:
    """The folder is empty, or was being filled when the engine was killed."""
    return os.path.exists(_marker(volume)) or not os.listdir(volume)


def fill_volume(rootfs: str, target: str, volume: str) -> bool:
    """Copy the folder `target` of a mounted root into the folder `volume`; False where there is nothing to do.

    The path is resolved inside the root only. MUST NOT run twice at once for a volume (`Volumes.fill` sees to it).
    After a failure the next call goes on.
    """
    if not wants_filling(volume):
        return False
    try:
        source = open_in_root(rootfs, target, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        _fill(f"/proc/self/fd/{source}", volume)
    finally:
        os.close(source)
    return True


def _fill(source: str, volume: str) -> None:
    marker, growing = _marker(volume), f"{volume}/{_GROWING}"
    with open(marker, "wb"):
        pass
    with contextlib.suppress(FileNotFoundError):
        os.unlink(growing)
    _copy_folder(source, volume, growing)
    os.unlink(marker)


def _marker(volume: str) -> str:
    return f"{os.path.dirname(volume)}/filling"


def _copy_folder(source: str, target: str, growing: str) -> None:
    for entry in os.scandir(source):
        _copy_entry(entry, os.path.join(target, entry.name), growing)
    _copy_attributes(source, target, follow=True)


def _copy_entry(entry: os.DirEntry[str], target: str, growing: str) -> None:
    if entry.is_dir(follow_symlinks=False):
        _copy_inner_folder(entry.path, target, growing)
    elif not os.path.lexists(target):
        _copy_file(entry, growing)
        os.rename(growing, target)


def _copy_inner_folder(source: str, target: str, growing: str) -> None:
    """A link that a container has put there meanwhile isn't followed."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(target)
    if stat.S_ISDIR(os.lstat(target).st_mode):
        _copy_folder(source, target, growing)


def _copy_file(entry: os.DirEntry[str], target: str) -> None:
    status = entry.stat(follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(entry.path), target)
    elif stat.S_ISREG(status.st_mode):
        shutil.copyfile(entry.path, target, follow_symlinks=False)
    else:
        os.mknod(target, status.st_mode, status.st_rdev)
    _copy_attributes(entry.path, target, follow=False)


def _copy_attributes(source: str, target: str, follow: bool) -> None:
    """Owner first: chown(2) takes the set-uid bits away."""
    status = os.stat(source, follow_symlinks=follow)
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    for name in os.listxattr(source, follow_symlinks=follow):
        if not name.startswith("trusted.overlay."):
            os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=follow), follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
