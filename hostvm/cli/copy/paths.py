"""The rules of `docker cp` about its two paths. Pure but for what must be looked up on this computer's disk.

A path that ends in a slash, or in `/.`, is said to be a folder; `/.` means its contents. Names follow docker's
documentation of `cp`: *source*, *destination*, and an archive that is *rebased*: its first component renamed.
"""

from __future__ import annotations

import os
import posixpath
import stat
from typing import NamedTuple

from hostvm.cli.failure import Failure

_MOST_LINKS = 10


class End(NamedTuple):
    """One end of a copy. `rebase` is the name that the archive's first component is to have, "" = its own."""

    path: str
    exists: bool = True
    is_folder: bool = False
    rebase: str = ""


class Plan(NamedTuple):
    """Unpack into `folder`, with the first component `old` of every name replaced by `new` (if they differ)."""

    folder: str
    old: str = ""
    new: str = ""

    def rename(self, name: str) -> str:
        return name.replace(self.old, self.new, 1) if self.new else name


def split_argument(argument: str) -> tuple[str, str]:
    """(container, path) of `web:/etc`; ("", path) for a path here, as `/a:b` and `./a:b` are."""
    container, colon, path = argument.partition(":")
    if argument.startswith(("/", ".")) or not colon:
        return "", argument
    return container, path


def base(path: str) -> str:
    """The last component, whatever slashes follow it."""
    return path.rstrip("/").rpartition("/")[2] or ("/" if path else ".")


def means_contents(path: str) -> bool:
    return base(path) == "."


def keep_ending(clean: str, original: str) -> str:
    """A cleaned path with the ending that says what the user meant."""
    if means_contents(original) and not means_contents(clean):
        clean = clean.rstrip("/") + "/."
    return clean + "/" if original.endswith("/") and not clean.endswith("/") else clean


def absolute(path: str) -> str:
    return keep_ending(os.path.abspath(path), path)


def split(path: str) -> tuple[str, str]:
    """(folder, entry), the path cleaned; the entry of `a/.` is "."."""
    clean = posixpath.normpath(path)
    if means_contents(path):
        return clean, "."
    return posixpath.dirname(clean) or ".", base(clean)


def renamed(path: str, resolved: str) -> tuple[str, str]:
    """A path after its links were followed: with the original's ending, and the name that it had."""
    resolved = keep_ending(resolved, path)
    return resolved, base(path) if base(path) != base(resolved) else ""


def find_source(path: str, follow: bool) -> End:
    """A path here. Links before its last slash are followed, the last one only with `follow`. Raises OSError."""
    if path.endswith("/") and os.path.exists(path.rstrip("/")) and not os.path.isdir(path):
        raise Failure("not a directory")
    if follow:
        resolved, rebase = renamed(path, os.path.realpath(path, strict=True))
    else:
        folder, _, name = path.rpartition("/")
        resolved = f"{os.path.realpath(folder or '/', strict=True).rstrip('/')}/{name}"
        rebase = base(path) if path.endswith("/") and base(path) != base(resolved) else ""
    return End(resolved, is_folder=stat.S_ISDIR(os.lstat(resolved).st_mode), rebase=rebase)


def find_destination(path: str) -> End:
    """A path here; links are followed, also a last one that leads nowhere. Its folder must exist. Raises OSError."""
    target = path
    for _ in range(_MOST_LINKS):
        try:
            status = os.lstat(target)
        except FileNotFoundError:
            return _new_destination(target)
        if not stat.S_ISLNK(status.st_mode):
            return End(target, is_folder=stat.S_ISDIR(status.st_mode))
        target = os.path.join(split(target)[0], os.readlink(target))
    raise Failure(f"too many symlinks in {path}")


def _new_destination(path: str) -> End:
    if not stat.S_ISDIR(os.stat(split(path)[0]).st_mode):
        raise Failure("not a directory")
    return End(path, exists=False)


def check_output(path: str) -> None:
    """What is copied to a path here must have a folder to go to, and can't replace a device. Raises Failure."""
    folder = posixpath.dirname(posixpath.normpath(path))
    if folder and not os.path.exists(folder):
        raise Failure(f'invalid output path: directory "{folder}" does not exist')
    if os.path.exists(path) and (kind := irregular(os.stat(path).st_mode)):
        raise Failure(f'invalid output path: "{path}" must be a directory or a regular file: {kind}')


def irregular(mode: int) -> str:
    """Why nothing can be copied there; "" where it can."""
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return "got a device"
    return "" if stat.S_ISDIR(mode) or stat.S_ISREG(mode) else "got an irregular file"


def plan_copy(source: End, destination: End) -> Plan:
    """Where the source's archive is unpacked, and under which name. Raises Failure."""
    if destination.exists and destination.is_folder:
        return Plan(destination.path)
    if destination.exists and source.is_folder:
        raise Failure("cannot copy directory")
    asserted = destination.path.endswith("/") or means_contents(destination.path)
    if not destination.exists and not source.is_folder and asserted:
        raise Failure("no such directory")
    folder, name = split(destination.path)
    old = source.rebase or split(source.path)[1]
    return Plan(folder, "" if old == "/" else old, name)
