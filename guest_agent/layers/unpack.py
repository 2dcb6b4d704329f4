"""Helper process: a layer's tar, compressed or not, from standard input -> the tree below a folder.

Argument: {"root": folder, "userxattr": bool, "rootless": bool, "outline": descriptor}. Report on standard output, one
JSON object: {"diff_id": str, "size": bytes of content, "tar_size": of the tar, "outline": whether it is of use}, or
{"kind": str, "message": str} as in wire.errors (and exit status 1). Standard output is also how we learn that the
engine died.

One thread reads and inflates, the main one hashes and writes files.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import Any

from guest_agent.layers import child
from guest_agent.layers.inflated import Inflated, read_start
from guest_agent.layers.outline import Content, OutlineWriter
from guest_agent.layers.tree_writer import OPAQUE_XATTR, TreeWriter, inner_name
from guest_agent.store.inflate import InflateError, open_inflater
from guest_agent.store.tar import TarDecoder, TarEntry, TarError


class _Unpacking:
    """The two readers of the uncompressed stream: the tree, and the outline."""

    def __init__(self, opaque_xattr: str, rootless: bool, outline: int) -> None:
        self._outline = OutlineWriter(outline)
        self._decoder = TarDecoder()
        self._hash = hashlib.sha256()
        self._size = 0
        self.writer = TreeWriter(opaque_xattr, rootless, self._outline.replace)

    def take(self, piece: bytes) -> None:
        self._hash.update(piece)
        self._size += len(piece)
        for event in self._decoder.feed(piece):
            if isinstance(event, TarEntry):
                self._begin(event)
            else:
                self.writer.write(event)
        self._outline.take(piece)

    def _begin(self, entry: TarEntry) -> None:
        self.writer.begin(entry)
        if entry.size and self.writer.keeps_content:
            self._outline.expect(self._decoder.position, Content(inner_name(entry.name), entry.size))

    def finish(self) -> dict[str, Any]:
        self._decoder.finish()
        self.writer.finish()
        self._outline.finish()
        diff_id = f"sha256:{self._hash.hexdigest()}"
        useful = not self._outline.void
        return {"diff_id": diff_id, "size": self.writer.size, "tar_size": self._size, "outline": useful}


def _report(pieces: Inflated, unpacking: _Unpacking) -> dict[str, Any]:
    where = unpacking.writer
    try:
        for piece in pieces:
            unpacking.take(piece)
        return unpacking.finish()
    except OSError as error:
        return child.describe(error, f"write {where.where}")
    except (TarError, InflateError) as error:
        return {"kind": "peer-misbehaved", "message": str(error)}
    except (RecursionError, OverflowError, ValueError):
        return {"kind": "peer-misbehaved", "message": f"entry {where.where} can't be made"}


def main() -> None:
    arguments = json.loads(sys.argv[1])
    child.exit_when_unread(1)
    start = read_start()
    inflater = open_inflater(start)
    child.enter(arguments["root"])
    opaque = OPAQUE_XATTR[arguments["userxattr"]]
    report = _report(Inflated(start, inflater), _Unpacking(opaque, arguments["rootless"], arguments["outline"]))
    os.write(1, json.dumps(report).encode())
    os._exit("diff_id" not in report)


if __name__ == "__main__":
    main()
