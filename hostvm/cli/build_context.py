"""A folder -> the tar that the engine builds from, without what .dockerignore leaves out.

`tarfile` takes 15 ms to import and knows more than is needed: here are regular files, folders and links, owned by root
as docker's client sends them. Names are bytes, whatever they are.
"""

import os
import stat

from hostvm.cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from guest_agent.wire.ignore_patterns import IgnorePatterns

_BLOCK = 512
#: Below what malloc asks the kernel for anew each time: fresh pages cost more than reading and sending.
_PIECE = 1 << 15
_FILE, _LINK, _FOLDER, _LONG_NAME, _LONG_LINK = b"0", b"2", b"5", b"L", b"K"
_END = bytes(2 * _BLOCK)
#: 11 octal digits.
_LARGEST_OCTAL = 8**11 - 1


class Context:
    """A folder with its ignore rules. `always` are paths that the engine needs, whatever the rules say."""

    def __init__(self, folder: str, ignore_file: str, always: "tuple[str, ...]" = ()) -> None:
        if not os.path.isdir(folder):
            raise Failure(f'unable to prepare context: path "{folder}" not found', 1)
        self.folder = os.path.abspath(folder)
        self.always = always
        self._patterns = _read_patterns(ignore_file)

    def entries(self) -> "Iterator[tuple[str, str]]":
        """(path on disk, path in the context), a folder before what is in it."""
        pending = [""]
        while pending:
            inner = pending.pop()
            place = os.path.join(self.folder, inner) if inner else self.folder
            try:
                with os.scandir(place) as found:
                    names = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
            except OSError as error:
                raise unreadable(place, error) from error
            for name, is_folder in names:
                path = f"{inner}/{name}" if inner else name
                taken = not self._patterns or path in self.always or not self._patterns.matches(path)
                if taken:
                    yield f"{place}/{name}", path
                if is_folder and (taken or self._may_have_wanted(path)):
                    pending.append(path)

    def _may_have_wanted(self, ignored: str) -> bool:
        """Is there, in a folder that is left out, something that isn't?"""
        inside = any(path.startswith(f"{ignored}/") for path in self.always)
        return inside or (self._patterns is not None and self._patterns.needs_walk(ignored))

    def needed(self) -> "Iterator[tuple[str, str]]":
        """Of `entries` those that the engine reads itself, as far as they are there."""
        places = ((os.path.join(self.folder, path), path) for path in self.always)
        return ((place, path) for place, path in places if os.path.lexists(place))


def _read_patterns(path: str) -> "IgnorePatterns | None":
    """None where there is no such file: regular expressions take a tenth of a cached build's time to import."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return None
    from guest_agent.wire.ignore_patterns import IgnorePatterns, parse_ignore_file

    try:
        return IgnorePatterns(parse_ignore_file(data))
    except ValueError as error:
        raise Failure(f"{path}: {error}", 1) from error


def read_text(path: str, doing: str, if_missing: str = "") -> bytes:
    """A file beside the context, whole. Raises Failure, which begins with `doing`; `if_missing` is a hint."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        hint = if_missing if isinstance(error, FileNotFoundError) else ""
        raise Failure(f"{doing} {os.path.abspath(path)}: {(error.strerror or '').lower()}", 1, hint) from error


def unreadable(path: str, error: OSError) -> Failure:
    """What can't be sent can't be built."""
    return Failure(f"error checking context: '{path}': {(error.strerror or '').lower()}", 1)


def pack(entries: "Iterator[tuple[str, str]]", prefix: str = "") -> "Iterator[bytes]":
    """The tar of what a context has, in pieces of some size, without the end."""
    buffer = bytearray()
    for place, path in entries:
        try:
            status = os.lstat(place)
            buffer += _entry(place, prefix + path, status)
            if stat.S_ISREG(status.st_mode):
                for piece in _content(place, status.st_size):
                    buffer += piece
                    if len(buffer) >= _PIECE:
                        yield bytes(buffer)
                        buffer.clear()
        except OSError as error:
            raise unreadable(place, error) from error
    if buffer:
        yield bytes(buffer)


def pack_file(name: str, data: bytes) -> bytes:
    """One more file of the tar, made here."""
    return _header(name.encode(), _FILE, 0o644, len(data), 0) + data + bytes(-len(data) % _BLOCK)


def end() -> bytes:
    """What a tar ends with."""
    return _END


def _entry(place: str, path: str, status: os.stat_result) -> bytes:
    name, mode, mtime = os.fsencode(path), stat.S_IMODE(status.st_mode), int(status.st_mtime)
    if stat.S_ISREG(status.st_mode):
        return _header(name, _FILE, mode, status.st_size, mtime)
    if stat.S_ISDIR(status.st_mode):
        return _header(name + b"/", _FOLDER, mode, 0, mtime)
    if stat.S_ISLNK(status.st_mode):
        return _header(name, _LINK, 0o777, 0, mtime, os.fsencode(os.readlink(place)))
    return b""  # sockets, FIFOs and devices aren't sources of anything


def _content(place: str, size: int) -> "Iterator[bytes]":
    """Exactly `size` bytes: a file that shrinks meanwhile is filled up with zeros."""
    left = size
    descriptor = os.open(place, os.O_RDONLY)  # `open` makes an object and asks the kernel twice more
    try:
        while left:
            data = os.read(descriptor, min(left, _PIECE)) or bytes(min(left, _PIECE))
            left -= len(data)
            yield data
    finally:
        os.close(descriptor)
    yield bytes(-size % _BLOCK)


def _header(name: bytes, kind: bytes, mode: int, size: int, mtime: int, link: bytes = b"") -> bytes:
    """GNU tar's; what is too long for its fields stands in entries of their own in front."""
    before = b""
    for text, long_kind, limit in ((link, _LONG_LINK, 100), (name, _LONG_NAME, 100)):
        if len(text) > limit:
            before += _plain_header(b"././@LongLink", long_kind, 0, len(text) + 1, 0, b"")
            before += text + bytes(1 + -(len(text) + 1) % _BLOCK)
    return before + _plain_header(name[:100], kind, mode, size, mtime, link[:100])


def _plain_header(name: bytes, kind: bytes, mode: int, size: int, mtime: int, link: bytes) -> bytes:
    fields = (name.ljust(100, b"\0"), b"%07o\0" % mode, b"0000000\0" * 2, _number(size), _number(max(mtime, 0)))
    head, tail = b"".join(fields), kind + link.ljust(100, b"\0") + b"ustar  \0"
    total = sum(head) + sum(tail) + 8 * 0x20
    return (head + b"%06o\0 " % total + tail).ljust(_BLOCK, b"\0")


def _number(value: int) -> bytes:
    """Octal, or base-256 where that isn't enough."""
    return b"%011o\0" % value if value <= _LARGEST_OCTAL else b"\x80" + value.to_bytes(11, "big")
