"""Files on our disk: written atomically, set aside instead of deleted, and whole trees removed safely."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from itertools import count

from guest_agent.wire.errors import HostFailed

_serial = count()


def unique_name(prefix: str = "") -> str:
    """A file name that no other call on this machine returns, not even after a restart."""
    return f"{prefix}{time.time_ns():x}-{os.getpid()}-{next(_serial)}"


def atomic_write(path: str, data: bytes, mode: int = 0o600, durable: bool = True) -> None:
    """Replace the file at `path`: readers see the old content or the new, after a power cut too if `durable`.

    The temporary file is a hidden sibling. On failure (HostFailed: disk full and the like) `path` is as before.
    """
    temporary = os.path.join(os.path.dirname(path), unique_name(".new-"))
    try:
        _write_file(temporary, data, mode, durable)
        os.rename(temporary, path)
        if durable:
            _sync_folder(os.path.dirname(path))
    except OSError as error:
        raise HostFailed(f"can't write {path}: {(error.strerror or str(error)).lower()}") from error
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)


def _write_file(path: str, data: bytes, mode: int, durable: bool) -> None:
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def _sync_folder(path: str) -> None:
    descriptor = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(path: str) -> None:
    """Put everything that was written to the file system of `path` on the disk: syncfs(2).

    By coreutils' `sync -f`, because Python has no syncfs and only `linux/` uses ctypes. It takes as long as the disk
    needs, so it is called from a thread. Raises HostFailed, for write-back errors too (kernel 5.8 and later).
    """
    argv = ["sync", "-f", path]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise HostFailed(f"`{' '.join(argv)}` failed with status {done.returncode}: {done.stderr.strip()}")


def set_aside(path: str, into_dir: str) -> str:
    """Move what can't be read out of the way, on the same file system; returns where it is now."""
    os.makedirs(into_dir, mode=0o700, exist_ok=True)
    target = os.path.join(into_dir, unique_name(os.path.basename(path) + "."))
    os.rename(path, target)
    return target


def move_to_grave(path: str, temporary_dir: str) -> str:
    """Take a tree out of sight in one step; returns where it waits for `remove_tree`."""
    grave = os.path.join(temporary_dir, unique_name("trash-"))
    os.rename(path, grave)
    return grave


def remove_tree(path: str) -> None:
    """Remove a file or a tree of any depth; symbolic links are removed, never followed. A missing one is fine.

    A container can nest folders deeper than PATH_MAX and than Python recurses. So a folder that isn't empty is moved
    up to be a sibling of `path` and is emptied there. `path` must therefore lie in a folder of our own where a
    leftover is no harm (`temporary`, whose content is removed at start-up).
    """
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            return
    except FileNotFoundError:
        return
    pending = [path]
    while pending:
        _remove_folder(pending.pop(), os.path.dirname(path), pending)


def _remove_folder(folder: str, parent: str, pending: list[str]) -> None:
    """Unlink the files, move the folders to `parent` and on the list `pending`, remove what is left."""
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            _remove_or_move(entry.path, parent, pending)
        else:
            _unlink(entry.path)
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        pass


def _remove_or_move(folder: str, parent: str, pending: list[str]) -> None:
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        pass
    except OSError:
        moved = os.path.join(parent, unique_name("trash-"))
        os.rename(folder, moved)
        pending.append(moved)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def tree_size(path: str) -> int:
    """Bytes in the regular files below `path`, each hard-linked file once. Takes long: call it from a thread."""
    total = 0
    seen: set[int] = set()
    pending = [path]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    total += _entry_size(entry, seen, pending)
        except OSError:
            continue  # removed meanwhile, or nested beyond PATH_MAX
    return total


def _entry_size(entry: os.DirEntry[str], seen: set[int], pending: list[str]) -> int:
    if entry.is_dir(follow_symlinks=False):
        pending.append(entry.path)
        return 0
    status = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode) or status.st_ino in seen:
        return 0
    if status.st_nlink > 1:
        seen.add(status.st_ino)
    return status.st_size
