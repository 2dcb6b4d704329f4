"""What `build` sends: the context as docker's API takes it, or in parts where there is more to send than a context.

The parts are one tar: `context/…` or `context.tar/…`, the file `dockerfile`, `secret/ID`, and further contexts as
`named/NAME/…`.
"""

import os
import sys
from itertools import chain

from guest_agent.wire.compression import COMPRESSED
from guest_agent.wire.git_sources import is_git
from hostvm.cli.arguments import Arguments
from hostvm.cli.build_beside import Beside
from hostvm.cli.build_context import Context, end, pack, pack_file, read_text
from hostvm.cli.build_fingerprint import fingerprint
from hostvm.cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Entries = Iterator[tuple[str, str]]

_PIECE = 1 << 18
_IGNORE, _ARCHIVE = ".dockerignore", "context.tar"
_USUAL_NAMES = ("Dockerfile", "dockerfile")


class Body:
    """`parameters` are what the engine must be told of it; `chunks` the bytes; `folder` is to be removed at the end.

    `agents`: the sockets of ssh agents by their ids. `short` gives the bytes of all but the context's files: enough for
    a build that needs none of them.
    """

    def __init__(
        self,
        parameters: "dict[str, object]",
        chunks: "Iterator[bytes]",
        folder: str = "",
        short: "Callable[[], Iterator[bytes]] | None" = None,
        agents: "dict[str, str] | None" = None,
    ) -> None:
        self.parameters = parameters
        self.chunks = chunks
        self.short = short
        self.agents = agents or {}
        self._folder = folder

    def close(self) -> None:
        if self._folder:
            from shutil import rmtree

            rmtree(self._folder, ignore_errors=True)


def open_body(arguments: Arguments) -> Body:
    """Raises Failure for what isn't there."""
    source, file = arguments.positional[0], arguments.text("file")
    if is_git(source):
        return _open_git(arguments, source)
    if source.startswith(("http://", "https://")):
        beside = Beside(arguments)
        return Body(
            {"remote": source, "dockerfile": file, **beside.parameters}, _pack_beside(beside), agents=beside.agents
        )
    if source == "-":
        return _open_standard_input(arguments)
    return _open_folder(arguments, source)


def _open_git(arguments: Arguments, source: str) -> Body:
    """Cloned here: the user's own keys and settings hold."""
    from hostvm.cli.cold.git import clone

    folder, inner = clone(source)
    body = _open_folder(arguments, inner)
    body._folder = folder
    return body


def _open_standard_input(arguments: Arguments) -> Body:
    """A tar is the context; anything else is a Dockerfile without one."""
    if arguments.text("file") == "-":
        raise Failure("invalid argument: can't use stdin for both build context and dockerfile", 1)
    start = sys.stdin.buffer.read(512)
    if not start:
        raise Failure("failed to get input: stdin is empty", 1, "name a folder, or pipe a Dockerfile or a tar in")
    beside = Beside(arguments)
    if not _looks_like_tar(start):
        dockerfile = pack_file("dockerfile" if beside.is_sent else "Dockerfile", start + sys.stdin.buffer.read())
        return Body(beside.parameters, chain((dockerfile,), beside.parts(), (end(),)), agents=beside.agents)
    chunks = _pack_archive(start, beside) if beside.is_sent else _read_on(start)
    return Body({"dockerfile": arguments.text("file"), **beside.parameters}, chunks, agents=beside.agents)


def _looks_like_tar(start: bytes) -> bool:
    """The checksum of the first header, as the engine would look at it."""
    if start.startswith(COMPRESSED):
        return True
    digits = start[148:156].strip(b"\0 ")
    if len(start) < 512 or not digits.isdigit() or set(digits) & set(b"89"):
        return False
    return sum(start) - sum(start[148:156]) + 8 * 0x20 == int(digits, 8)


def _read_on(start: bytes) -> "Iterator[bytes]":
    yield start
    while data := sys.stdin.buffer.read(_PIECE):
        yield data


def _open_folder(arguments: Arguments, folder: str) -> Body:
    place, given = _find_dockerfile(folder, arguments.text("file"))
    ignore = next(
        (one for one in (f"{place}{_IGNORE}" if place else "", os.path.join(folder, _IGNORE)) if os.path.isfile(one)),
        "",
    )
    inside = "" if given is not None else os.path.relpath(os.path.abspath(place), os.path.abspath(folder))
    context = Context(folder, ignore, (inside, f"{inside}{_IGNORE}", _IGNORE) if inside else (_IGNORE,))
    beside = Beside(arguments)
    in_parts = given is not None or beside.is_sent
    known = "" if beside.has_contexts else fingerprint(context)
    own = {"dockerfile": inside, "hostvm-parts": in_parts, "hostvm-context": known}
    parameters = {**beside.parameters, **own}

    def packed(entries: "Entries") -> "Iterator[bytes]":
        return _pack_parts(entries, given, beside) if in_parts else _pack_plain(entries)

    short = (lambda: packed(context.needed())) if known else None
    return Body(parameters, packed(context.entries()), short=short, agents=beside.agents)


def _pack_plain(entries: "Entries") -> "Iterator[bytes]":
    yield from pack(entries)
    yield end()


def _pack_parts(entries: "Entries", dockerfile: "bytes | None", beside: Beside) -> "Iterator[bytes]":
    yield from pack(entries, "context/")
    if dockerfile is not None:
        yield pack_file("dockerfile", dockerfile)
    yield from beside.parts()
    yield end()


def _pack_beside(beside: Beside) -> "Iterator[bytes]":
    """Nothing at all where nothing is beside a context that the engine gets from elsewhere."""
    if beside.is_sent:
        yield from beside.parts()
        yield end()


def _pack_archive(start: bytes, beside: Beside) -> "Iterator[bytes]":
    """Standard input's tar in pieces: of each the size is known."""
    for number, piece in enumerate(_read_on(start)):
        yield pack_file(f"{_ARCHIVE}/{number:08}", piece)
    yield from beside.parts()
    yield end()


def _find_dockerfile(folder: str, file: str) -> "tuple[str, bytes | None]":
    """Its path, and its text where it isn't in the context. Raises Failure."""
    if file == "-":
        return "", sys.stdin.buffer.read()
    if not os.path.isdir(folder):
        raise Failure(f'unable to prepare context: path "{folder}" not found', 1)
    place = _place_dockerfile(folder, file)
    root, real = os.path.realpath(folder), os.path.realpath(place)
    if real.startswith(f"{root}/") and os.path.exists(real):
        return real if not os.path.abspath(place).startswith(f"{os.path.abspath(folder)}/") else place, None
    doing = "unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat"
    return place, read_text(place, doing, "write one, or name it with -f")


def _place_dockerfile(folder: str, file: str) -> str:
    """`--file` as seen from here, else from the context; without it the usual names in the context."""
    places = (file, os.path.join(folder, file)) if file else tuple(os.path.join(folder, one) for one in _USUAL_NAMES)
    return next(filter(os.path.exists, places), places[0])
