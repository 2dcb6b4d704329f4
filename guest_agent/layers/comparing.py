"""Helper process: is the tree of a layer still what its outline says? Types, modes, owners, times, links, xattrs.

Argument: {"root": the layer's folder, "skeleton": an empty one, "outline": descriptor, "userxattr": bool, "rootless":
bool}. The report, {} or {"kind", "message"}, goes to standard output.

What the repacker reads are the outline and the contents of files, so the digest of its tar says nothing of what else
is in the folder. Here the layer is unpacked once more, without contents: a skeleton, by the very code that made the
layer. Both trees are listed, each in a chroot of its own, and their first difference is the answer.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import zip_longest
from typing import IO, Any

from guest_agent.layers import child
from guest_agent.layers.listing import Line, list_tree
from guest_agent.layers.outline import Content, OutlineError, read_outline
from guest_agent.layers.tree_writer import OPAQUE_XATTR, TreeWriter
from guest_agent.store.tar import TarDecoder, TarEntry, TarError, shown

_ZEROS = bytes(1 << 20)


class _SkeletonWriter(TreeWriter):
    """Its files have their size, and nothing in them."""

    def begin(self, entry: TarEntry) -> None:
        super().begin(entry)
        if self.keeps_content:
            os.truncate(self._open, entry.size)

    def write(self, piece: memoryview) -> None:
        """Whether the content is right, the digest of the tar has told."""


def _write_skeleton(outline: int, writer: TreeWriter) -> None:
    decoder = TarDecoder()
    for piece in _tar_of_zeros(outline):
        for event in decoder.feed(piece):
            if isinstance(event, TarEntry):
                writer.begin(event)
    decoder.finish()
    writer.finish()


def _tar_of_zeros(outline: int) -> Iterator[bytes]:
    for record in read_outline(outline):
        if isinstance(record, bytes):
            yield record
        elif isinstance(record, Content):
            for start in range(0, record.size, len(_ZEROS)):
                yield _ZEROS[: record.size - start]


def find_difference(found: Iterable[str], wanted: Iterable[str]) -> str:
    """The first one between the lines of a tree and those of its skeleton; "" where there is none."""
    for one, other in zip_longest(found, wanted):
        if one != other:
            return _describe(_read_line(one), _read_line(other))
    return ""


def _read_line(text: str | None) -> Line | None:
    return Line(*json.loads(text)) if text else None


def _describe(found: Line | None, wanted: Line | None) -> str:
    if wanted and (not found or _order(wanted) < _order(found)):
        return f"{_shown(wanted)} is missing"
    assert found
    if not wanted or _order(found) < _order(wanted):
        return f"{_shown(found)} is no part of it"
    fields = (field for field, one, other in zip(Line._fields, found, wanted, strict=True) if one != other)
    return f"{_shown(found)} has another {next(fields).replace('_', ' ')}"


def _order(line: Line) -> list[str]:
    return line.name.split("/")


def _shown(line: Line) -> str:
    return shown(os.fsencode(line.name or "."))


def _lines() -> Iterator[str]:
    return (json.dumps(line) + "\n" for line in list_tree())


def _start_listing(root: str) -> IO[str]:
    """A child of this process lists the tree there; it ends when nobody reads."""
    reading, writing = os.pipe()
    if not os.fork():
        os.close(reading)
        try:
            with suppress(OSError), open(writing, "w", encoding="ascii") as output:
                child.enter(root)
                output.writelines(_lines())
        finally:
            os._exit(0)
    os.close(writing)
    return open(reading, encoding="ascii")


def _report(lines: IO[str], outline: int, writer: TreeWriter) -> dict[str, Any]:
    try:
        _write_skeleton(outline, writer)
        difference = find_difference(lines, _lines())
    except OSError as error:
        return {**child.describe(error, f"write {writer.where}"), "kind": "host-failed"}
    except (OutlineError, TarError) as error:
        return {"kind": "data-damaged", "message": f"its outline is damaged: {error}"}
    return {"kind": "data-damaged", "message": difference} if difference else {}


def main() -> None:
    arguments = json.loads(sys.argv[1])
    lines = _start_listing(arguments["root"])
    child.exit_when_unread(1)
    child.enter(arguments["skeleton"])
    writer = _SkeletonWriter(OPAQUE_XATTR[arguments["userxattr"]], arguments["rootless"])
    os.write(1, json.dumps(_report(lines, arguments["outline"], writer)).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
