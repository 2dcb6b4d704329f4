"""What `X-Docker-Container-Path-Stat` tells of a path, read inside a container's root."""

from __future__ import annotations

import os
import posixpath
import stat

#: Go's os.FileMode: the permissions as everywhere, and bits of its own for the kind.
_GO_KINDS = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
}
_GO_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


def go_mode(mode: int) -> int:
    """st_mode as Go's os.FileMode."""
    bits = sum(go for bit, go in _GO_BITS.items() if mode & bit)
    return (mode & 0o777) | _GO_KINDS.get(stat.S_IFMT(mode), 0) | bits


def absolute(path: str) -> str:
    """The path from the root on, cleaned; a slash or `/.` at its end stays, since it says "the folder itself"."""
    clean = posixpath.normpath(f"/{path}").replace("//", "/")
    if base_name(path) == "." and path and base_name(clean) != ".":
        clean = clean.rstrip("/") + "/."
    return clean + "/" if path.endswith("/") and not clean.endswith("/") else clean


def base_name(path: str) -> str:
    """Go's filepath.Base: the last component, whatever slashes follow it; "." for "", "/" for the root."""
    if not path:
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"


def stat_path(path: str) -> dict[str, object]:
    """Of an absolute path, itself and not what a link leads to. OSError where there is nothing."""
    found = os.lstat(path)
    return {
        "name": base_name(path),
        "size": found.st_size,
        "mode": go_mode(found.st_mode),
        "mtime_ns": found.st_mtime_ns,
        "link_target": os.path.realpath(path) if stat.S_ISLNK(found.st_mode) else "",
    }
