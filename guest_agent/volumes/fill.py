"""An empty volume takes what the image has at its place, with owners, modes and links, as docker's does."""

from __future__ import annotations

import os
import shutil
import stat

from guest_agent.linux.paths import open_in_root


def fill_volume(rootfs: str, target: str, volume: str) -> bool:
    """Copy the folder `target` of a mounted root into the empty folder `volume`; False where there is nothing to do.

    The path is resolved inside the root only. The copy grows beside the volume and takes its place when it is whole,
    so that a volume is never left half-filled.
    """
    if os.listdir(volume):
        return False
    growing = f"{volume}.filling"
    shutil.rmtree(growing, ignore_errors=True)
    try:
        source = open_in_root(rootfs, target, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        os.mkdir(growing)
        _copy_folder(f"/proc/self/fd/{source}", growing)
        os.rename(growing, volume)
    finally:
        os.close(source)
    return True


def _copy_folder(source: str, target: str) -> None:
    for entry in os.scandir(source):
        _copy_entry(entry, os.path.join(target, entry.name))
    _copy_attributes(source, target, follow=True)


def _copy_entry(entry: os.DirEntry[str], target: str) -> None:
    status = entry.stat(follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        os.mkdir(target)
        _copy_folder(entry.path, target)
        return
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
