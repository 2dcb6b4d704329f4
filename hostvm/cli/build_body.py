"""What `build` sends: the context as docker's API takes it, or in parts where there is more to send than a context.

The parts are one tar: `context/…`, the file `dockerfile`, `secret/ID`, and further contexts as `named/NAME/…`.
"""

import os
import sys

from guest_agent.wire.git_sources import is_git
from hostvm.cli.arguments import Arguments
from hostvm.cli.build_context import Context, end, pack, pack_file
from hostvm.cli.build_fingerprint import fingerprint
from hostvm.cli.failure import Failure
from hostvm.cli.query import escape
from hostvm.cli.request.build import parse_fields
from hostvm.client.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Entries = Iterator[tuple[str, str]]

_PIECE = 1 << 18
_IGNORE = ".dockerignore"
#: BuildKit's limit.
_LARGEST_SECRET = 500 << 10
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\x00")


class Body:
    """`parameters` are what the engine must be told of it; `chunks` the bytes; `folder` is to be removed at the end.

    `short` gives the bytes of all but the context's files: enough for a build that needs none of them.
    """

    def __init__(
        self,
        parameters: "dict[str, object]",
        chunks: "Iterator[bytes]",
        folder: str = "",
        short: "Callable[[], Iterator[bytes]] | None" = None,
    ) -> None:
        self.parameters = parameters
        self.chunks = chunks
        self.short = short
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
        return Body({"remote": source, "dockerfile": file}, iter(()))
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
    if not _looks_like_tar(start):
        dockerfile = start + sys.stdin.buffer.read()
        return Body({}, iter((pack_file("Dockerfile", dockerfile), end())))
    return Body({"dockerfile": arguments.text("file")}, _read_on(start))


def _looks_like_tar(start: bytes) -> bool:
    """The checksum of the first header, as the engine would look at it."""
    if start.startswith(_COMPRESSED):
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
    context = Context(folder, ignore, tuple(one for one in (inside, _IGNORE) if one))
    secrets = dict(_read_secret(text) for text in arguments.texts("secret"))
    named, images = _named_contexts(arguments.texts("build-context"))
    parameters: dict[str, object] = {"dockerfile": inside}
    agents = dict(_find_agent(text) for text in arguments.texts("ssh"))
    if agents:
        parameters["hostvm-ssh"] = dumps(agents)
    if images:
        parameters["hostvm-images"] = dumps(images)
    in_parts = given is not None or secrets or named
    if in_parts:
        parameters["hostvm-parts"] = True
    known = "" if named else fingerprint(context)
    parameters["hostvm-context"] = known

    def packed(entries: "Entries") -> "Iterator[bytes]":
        return _pack_parts(entries, given, secrets, named) if in_parts else _pack_plain(entries)

    return Body(parameters, packed(context.entries()), short=(lambda: packed(context.needed())) if known else None)


def _pack_plain(entries: "Entries") -> "Iterator[bytes]":
    yield from pack(entries)
    yield end()


def _pack_parts(
    entries: "Entries", dockerfile: "bytes | None", secrets: "dict[str, bytes]", named: "dict[str, str]"
) -> "Iterator[bytes]":
    yield from pack(entries, "context/")
    if dockerfile is not None:
        yield pack_file("dockerfile", dockerfile)
    for name, data in secrets.items():
        yield pack_file(f"secret/{escape(name)}", data)
    for name, folder in named.items():
        yield from pack(Context(folder, os.path.join(folder, _IGNORE)).entries(), f"named/{escape(name)}/")
    yield end()


def _find_dockerfile(folder: str, file: str) -> "tuple[str, bytes | None]":
    """Its path, and its text where it isn't in the context."""
    if file == "-":
        return "", sys.stdin.buffer.read()
    place = file or os.path.join(folder, "Dockerfile")
    if not file and not os.path.exists(place) and os.path.exists(os.path.join(folder, "dockerfile")):
        place = os.path.join(folder, "dockerfile")
    if file and not os.path.exists(place) and os.path.exists(os.path.join(folder, file)):
        place = os.path.join(folder, file)
    if not os.path.isdir(folder):
        raise Failure(f'unable to prepare context: path "{folder}" not found', 1)
    root = os.path.realpath(folder)
    real = os.path.realpath(place)
    if real.startswith(f"{root}/") and os.path.exists(real):
        return real if not os.path.abspath(place).startswith(f"{os.path.abspath(folder)}/") else place, None
    return place, _read(place, "unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat")


def _read(path: str, doing: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Failure(f"{doing} {os.path.abspath(path)}: {(error.strerror or '').lower()}", 1) from error


def _read_secret(text: str) -> "tuple[str, bytes]":
    """`id=NAME` with `src=FILE` or `env=NAME`; with neither, the variable of its name, else the file."""
    fields = parse_fields(text, "--secret")
    identity = fields.get("id", "")
    if not identity:
        raise Failure(f"failed to parse --secret {text}: the id is missing", 125)
    path = fields.get("src") or fields.get("source") or ""
    variable = fields.get("env") or ("" if path or identity not in os.environ else identity)
    if variable:
        if variable not in os.environ:
            raise Failure(f"failed to parse --secret {text}: the variable {variable} isn't set", 1)
        data = os.environb[os.fsencode(variable)]
    else:
        data = _read(os.path.expanduser(path or identity), f"failed to stat secret {identity}: open")
    if len(data) > _LARGEST_SECRET:
        raise Failure(f"invalid secret size {len(data)}: at most {_LARGEST_SECRET} bytes are allowed", 1)
    return identity, data


def _named_contexts(words: "list[str]") -> "tuple[dict[str, str], dict[str, str]]":
    """Folders, and images, by the names that the Dockerfile uses."""
    folders, images = {}, {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise Failure(f"invalid context value: {word}, expected key=value", 125)
        if value.startswith("docker-image://"):
            images[name.lower()] = value.removeprefix("docker-image://")
        else:
            folders[name.lower()] = value
    return folders, images


def _find_agent(text: str) -> "tuple[str, str]":
    identity, equals, path = text.partition("=")
    socket = path if equals else os.environ.get("SSH_AUTH_SOCK", "")
    if not socket:
        raise Failure(
            f"invalid empty ssh agent socket for {identity}",
            1,
            "start an agent, or name its socket: --ssh default=PATH",
        )
    return identity or "default", os.path.abspath(socket)
