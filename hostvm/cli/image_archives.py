"""`save` and `import`: images to a file, and root file systems from one."""

from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_bytes, write_out
from hostvm.cli.query import escape, with_query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostvm.cli.main import Context


def save(context: "Context", arguments: Arguments) -> int:
    from posix import isatty

    output = arguments.text("output")
    if not output and isatty(1):
        raise Failure("cowardly refusing to save to a terminal. Use the -o flag or redirect", 1)
    _check_output(output)
    path = "/images/get?" + "&".join(f"names={escape(name)}" for name in arguments.positional)
    chunks = context.engine.open("GET", path).chunks()
    if not output:
        for chunk in chunks:
            write_bytes(1, chunk)
        return 0
    _write_file(output, chunks)
    return 0


def _check_output(path: str) -> None:
    """Docker's words for what can't be written, before anything is asked for."""
    from os.path import dirname, isdir

    if path and isdir(path):
        raise Failure(f'failed to save image: invalid output path: "{path}" must be a regular file', 1)
    folder = dirname(path)
    if folder and not isdir(folder):
        raise Failure(f'failed to save image: invalid output path: directory "{folder}" does not exist', 1)


def _write_file(path: str, chunks: "Iterator[bytes]") -> None:
    """Beside itself first: an archive is whole, or isn't there."""
    import os

    temporary = f"{path}.{os.getpid()}.part"
    try:
        with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            for chunk in chunks:
                file.write(chunk)
        os.replace(temporary, path)
    except OSError as error:
        raise Failure(f"failed to save image: {path}: {(error.strerror or '').lower()}", 1) from error
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)


def import_root(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.render.image_view import split_tag

    source, *target = arguments.positional
    repository, tag = split_tag(target[0]) if target else ("", "")
    is_url = source.startswith(("http://", "https://"))
    path = with_query(
        "/images/create",
        fromSrc=source if is_url else "-",
        repo=repository,
        tag="" if tag == "<none>" else tag,
        message=arguments.text("message"),
        platform=arguments.text("platform"),
    )
    path += "".join(f"&changes={escape(change)}" for change in arguments.texts("change"))
    for record in context.engine.upload(path, iter(()) if is_url else _read(source)):
        write_out(f"{record.get('status', '')}\n")
    return 0


def _read(source: str) -> "Iterator[bytes]":
    import sys

    try:
        file = sys.stdin.buffer if source == "-" else open(source, "rb")  # noqa: SIM115
    except OSError as error:
        raise Failure(f"open {source}: {(error.strerror or '').lower()}", 1) from error
    with file:
        while data := file.read(1 << 18):
            yield data
