"""`export`: a container's root file system as a tar, to a file or a pipe."""

import os

from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_bytes
from hostvm.cli.query import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostvm.cli.main import Context


def export(context: "Context", arguments: Arguments) -> int:
    output = arguments.text("output")
    if not output and os.isatty(1):
        raise Failure("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    if output:
        check_output(output)
    pieces = context.engine.open("GET", f"/containers/{escape(arguments.positional[0])}/export").chunks()
    if output:
        write_file(output, pieces)
    else:
        for piece in pieces:
            write_bytes(1, piece)
    return 0


def check_output(path: str) -> None:
    """Before anything is asked for. Raises Failure in docker's words."""
    from hostvm.cli.copy.paths import check_output as check

    try:
        check(path)
    except Failure as failure:
        raise Failure(f"failed to export container: {failure.text}") from failure


def write_file(path: str, pieces: "Iterator[bytes]") -> None:
    """The file appears when it is whole: an export that fails leaves what was there."""
    growing = f"{path}.{os.getpid()}.tmp"
    try:
        with open(growing, "xb") as file:
            for piece in pieces:
                file.write(piece)
        os.replace(growing, path)
    except OSError as error:
        raise Failure(f"open {error.filename or path}: {(error.strerror or '').lower()}") from error
    finally:
        if os.path.lexists(growing):
            os.unlink(growing)
