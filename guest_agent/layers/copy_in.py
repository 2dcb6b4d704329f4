"""Helper process: a tar, compressed or not, from standard input -> a folder of a container.

Argument: {"view": View, "path": the folder as the user named it, "keep_kinds": bool, "owner": [uid, gid] or null}.
Report on standard output: {} or {"kind", "message"}; how we learn that the engine died, too.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import Any

from guest_agent.layers import child
from guest_agent.layers.archive_writer import ArchiveWriter, CannotOverwrite
from guest_agent.layers.inflated import Inflated, read_start
from guest_agent.layers.path_stat import absolute
from guest_agent.layers.view import View, enter_view, read_view, refusal
from guest_agent.store.inflate import InflateError, open_inflater
from guest_agent.store.tar import TarDecoder, TarEntry, TarError


def enter_folder(view: View, path: str) -> dict[str, Any]:
    """Make it the working directory: what stands there later isn't asked for again. The report says why not."""
    target = absolute(path)
    try:
        if not stat.S_ISDIR(os.stat(target).st_mode):
            return {"kind": "invalid-argument", "message": "extraction point is not a directory"}
        os.chdir(target)
    except FileNotFoundError:
        return {"kind": "not-found", "message": path}
    except OSError as error:
        return child.describe(error, f"lstat {target}")
    why_not = refusal(view, os.getcwd())
    return {"kind": "invalid-argument", "message": why_not} if why_not else {}


def unpack(pieces: Inflated, writer: ArchiveWriter) -> dict[str, Any]:
    """Write all entries; the report."""
    decoder = TarDecoder()
    try:
        for piece in pieces:
            for event in decoder.feed(piece):
                if isinstance(event, TarEntry):
                    writer.begin(event)
                else:
                    writer.write(event)
        decoder.finish()
        writer.finish()
    except OSError as error:
        return child.describe(error, f"write {writer.where}")
    except CannotOverwrite as error:
        return {"kind": "host-failed", "message": str(error)}
    except (TarError, InflateError) as error:
        return {"kind": "peer-misbehaved", "message": str(error)}
    except (RecursionError, OverflowError, ValueError):
        return {"kind": "peer-misbehaved", "message": f"entry {writer.where} can't be made"}
    return {}


def main() -> None:
    arguments = json.loads(sys.argv[1])
    child.exit_when_unread(1)
    start = read_start()
    inflater = open_inflater(start)
    view = read_view(arguments["view"])
    try:
        enter_view(view)
        report = enter_folder(view, arguments["path"])
    except OSError as error:
        report = child.describe(error, str(error.filename))
    if not report:
        owner = arguments["owner"]
        report = unpack(Inflated(start, inflater), ArchiveWriter(arguments["keep_kinds"], owner and tuple(owner)))
    os.write(1, json.dumps(report).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
