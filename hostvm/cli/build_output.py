"""`build --output`: the result as a folder or a tar instead of (or beside) an image."""

import os
import sys

from hostvm.cli.failure import Failure
from hostvm.cli.query import with_query
from hostvm.cli.request.build import parse_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from tarfile import TarFile, TarInfo
    from typing import IO

    from hostvm.cli.build_report import Report
    from hostvm.cli.main import Context


class Output:
    """`kind` is local or tar; `place` a path, "-" for standard output."""

    def __init__(self, kind: str, place: str) -> None:
        self.kind = kind
        self.place = place
        self.of_files = kind != "docker"


def parse_output(text: str) -> "Output | None":
    """None where the image alone is wanted. Raises Failure."""
    if not text:
        return None
    if text == "-":
        return Output("tar", "-")
    if "=" not in text:
        return Output("local", text)
    fields = parse_fields(text, "--output")
    kind, place = fields.get("type", ""), fields.get("dest", "")
    if fields.get("push", "false") != "false":
        raise Failure(f"unsupported output option: {text}", 125, "push the image afterwards: `hostvm push`")
    if kind in ("image", "docker") and not place:
        return None
    if kind == "docker":
        return Output("docker", place)
    if kind not in ("local", "tar"):
        raise Failure(f"unsupported output type: {kind or text}", 125, "known: local, tar, docker")
    if not place and kind == "local":
        raise Failure("dest is required for the local exporter", 125)
    return Output(kind, place or "-")


def export(context: "Context", identity: str, report: "Report", output: Output) -> None:
    """Write what was built to where it is wanted."""
    if not output.of_files:
        _write(context.engine.open("GET", with_query("/images/get", names=identity)).chunks(), output.place)
    elif output.kind == "tar":
        _write(report.files(), output.place)
    else:
        _unpack(report.files(), output.place)


def _write(chunks: "Iterator[bytes]", place: str) -> None:
    if place == "-" and sys.stdout.isatty():
        raise Failure("dest file is required for tar exporter. refusing to write to console", 1)
    try:
        with sys.stdout.buffer if place == "-" else open(place, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
    except OSError as error:
        raise Failure(f"failed to write {place}: {(error.strerror or '').lower()}", 1) from error


def _unpack(chunks: "Iterator[bytes]", place: str) -> None:
    """As the user who asks: owners are his, and devices, which he can't make, are left out."""
    import tarfile

    try:
        os.makedirs(place, exist_ok=True)
        with _file_of(chunks) as file, tarfile.open(fileobj=file) as archive:
            archive.extraction_filter = lambda member, _place: member
            archive.extractall(place, members=_inner_members(archive, place))
    except OSError as error:
        raise Failure(f"failed to write {place}: {(error.strerror or '').lower()}", 1) from error


def _inner_members(archive: "TarFile", place: str) -> "Iterator[TarInfo]":
    """What may be written: no devices, and nothing through a link that leads out of the folder. Raises Failure.

    tarfile writes through a link that stands where a file shall be, so what isn't a folder goes first. It also gives
    a hard link the mode of its entry: one to a link would pass it on, and becomes a link of its own.
    """
    root = os.path.realpath(place)
    for member in archive:
        target = _inner_place(root, member.name, place)
        if member.isdev():
            continue
        if os.path.islink(target) or (os.path.lexists(target) and not os.path.isdir(target)):
            os.unlink(target)
        member.uid, member.gid, member.uname, member.gname = os.geteuid(), os.getegid(), "", ""
        if member.islnk():
            _copy_link(member, _inner_place(root, member.linkname, place))
        yield member


def _inner_place(root: str, name: str, shown: str) -> str:
    """Where an entry lies: below `root`, the last component not followed. Raises Failure."""
    parent, base = os.path.split(os.path.join(root, name))
    parent = os.path.realpath(parent)
    if base == ".." or not f"{parent}/".startswith(f"{root}/"):
        raise Failure(f"failed to write {shown}: {name} leads out of it", 1)
    return os.path.join(parent, base)


def _copy_link(member: "TarInfo", target: str) -> None:
    from tarfile import SYMTYPE

    if os.path.islink(target):
        member.type, member.linkname = SYMTYPE, os.readlink(target)


def _file_of(chunks: "Iterator[bytes]") -> "IO[bytes]":
    """Chunks as the file that tarfile wants: a temporary one, which the system forgets."""
    from tempfile import TemporaryFile

    file = TemporaryFile()  # noqa: SIM115 (the caller closes it)
    for chunk in chunks:
        file.write(chunk)
    file.seek(0)
    return file
