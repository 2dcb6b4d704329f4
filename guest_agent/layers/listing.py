"""What a layer's tree is made of, the contents aside: one line for each file, comparable from tree to tree."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

#: Beside the mark of an opaque folder, what overlayfs notes there is its own; these would lead into other layers.
_TELLING = ("redirect", "metacopy")
#: Labels are the host's policy, not the layer's.
_OF_THE_HOST = frozenset(("security.selinux", "security.ima", "security.evm"))


class Line(NamedTuple):
    """One file. What its type doesn't have is empty; the fields' names are those of messages.

    A tar has whole seconds, a folder's time follows from what is in it, and a whiteout has nothing but its name.
    """

    name: str
    type: int
    mode: int = 0
    owner: tuple[int, int] = (0, 0)
    size: int = 0
    target: str = ""
    device: int = 0
    hard_link: str = ""  #: the first name of a file that has several
    time: int = 0
    extended_attribute: tuple[tuple[str, str], ...] = ()


def list_tree() -> Iterator[Line]:
    """Of the working directory: depth first, and sorted, so that the parts of the names are in order."""
    links: dict[tuple[int, int], str] = {}
    pending = [""]
    while pending:
        name = pending.pop()
        status = os.lstat(name or ".")
        if stat.S_ISSOCK(status.st_mode):
            continue  # can't be in a tar
        yield _line(name, status, links)
        if stat.S_ISDIR(status.st_mode):
            prefix = name and name + "/"
            pending += [prefix + inner for inner in sorted(os.listdir(name or "."), reverse=True)]


def _line(name: str, status: os.stat_result, links: dict[tuple[int, int], str]) -> Line:
    kind, mode = stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode)
    if kind == stat.S_IFCHR and not status.st_rdev:
        return Line(name, kind)
    return Line(
        name,
        kind,
        mode,
        (status.st_uid, status.st_gid),
        size=status.st_size if kind == stat.S_IFREG else 0,
        target=os.readlink(name) if kind == stat.S_IFLNK else "",
        device=status.st_rdev,
        hard_link=_first_name(name, status, links),
        time=0 if kind == stat.S_IFDIR else status.st_mtime_ns // 10**9,
        extended_attribute=tuple(_attributes(name or ".")),
    )


def _first_name(name: str, status: os.stat_result, links: dict[tuple[int, int], str]) -> str:
    if status.st_nlink < 2 or not stat.S_ISREG(status.st_mode):
        return ""
    return links.setdefault((status.st_dev, status.st_ino), name)


def _attributes(name: str) -> Iterator[tuple[str, str]]:
    for key in sorted(os.listxattr(name, follow_symlinks=False)):
        value = os.getxattr(name, key, follow_symlinks=False)
        if _is_of_the_layer(key, value):
            yield key, value.hex()


def _is_of_the_layer(key: str, value: bytes) -> bool:
    _, is_overlay, note = key.partition(".overlay.")
    if is_overlay:
        return note in _TELLING or (note == "opaque" and value == b"y")
    return key not in _OF_THE_HOST
