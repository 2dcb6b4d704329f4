"""Helper process: an unpacked layer and its outline -> the layer's tar, as it came, on standard output.

Argument: {"root": folder, "outline": descriptor, "diff_id": str}. The report, {} or {"kind", "message"}, goes to
standard error; a tar whose digest isn't the diff id is an error, which its reader learns at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

from guest_agent.layers import child
from guest_agent.layers.outline import Content, OutlineError, Record, Replaced, read_outline

_COPY_SIZE = 1 << 20


class DamagedLayer(Exception):
    """What is on the disk isn't the layer any more."""


class Repacker:
    """Writes one layer. Raises OSError, OutlineError, DamagedLayer."""

    def __init__(self, output: BinaryIO, outline: int) -> None:
        self._output = output
        self._outline = outline
        self._hash = hashlib.sha256()
        self.where = b"."

    def repack(self) -> str:
        """All of it; the digest of what was written."""
        replaced = {record.ordinal: record.data for record in self._records() if isinstance(record, Replaced)}
        ordinal = 0
        for record in self._records():
            if isinstance(record, bytes):
                self._write(record)
            elif isinstance(record, Content):
                self._put(record, replaced.get(ordinal))
                ordinal += 1
        self._output.flush()
        return f"sha256:{self._hash.hexdigest()}"

    def _records(self) -> Iterator[Record]:
        return read_outline(self._outline)

    def _put(self, content: Content, replaced: bytes | None) -> None:
        if replaced is not None:
            self._write(replaced)
            return
        self.where = content.name
        with open(os.open(content.name, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
            left = content.size
            while left and (data := file.read(min(left, _COPY_SIZE))):
                self._write(data)
                left -= len(data)
            if left or file.read(1):
                raise DamagedLayer(f"{os.fsdecode(content.name)!r} hasn't its {content.size} bytes any more")

    def _write(self, data: bytes) -> None:
        self._hash.update(data)
        self._output.write(data)


def _report(repacker: Repacker, root: str, diff_id: str) -> dict[str, Any]:
    try:
        child.enter(root)
        found = repacker.repack()
    except FileNotFoundError:
        return {"kind": "data-damaged", "message": f"{os.fsdecode(repacker.where)!r} is missing"}
    except OSError as error:
        return {**child.describe(error, f"read {os.fsdecode(repacker.where)!r}"), "kind": "host-failed"}
    except OutlineError as error:
        return {"kind": "data-damaged", "message": f"its outline is damaged: {error}"}
    except DamagedLayer as error:
        return {"kind": "data-damaged", "message": str(error)}
    return {} if found == diff_id else {"kind": "data-damaged", "message": f"its digest is {found}"}


def main() -> None:
    arguments = json.loads(sys.argv[1])
    child.exit_when_unread(1)
    repacker = Repacker(sys.stdout.buffer, arguments["outline"])
    report = _report(repacker, arguments["root"], arguments["diff_id"])
    os.write(2, json.dumps(report).encode())
    os._exit(bool(report))


if __name__ == "__main__":
    main()
