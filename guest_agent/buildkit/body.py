"""A job's Dockerfile and contexts, out of the client's session: the body of our own build, in parts.

BuildKit's clients send nothing by themselves: the Dockerfile comes first, then .dockerignore, which says what of the
context is asked for at all.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import quote

from guest_agent.buildkit.attributes import Wanted
from guest_agent.buildkit.progress import Progress
from guest_agent.buildkit.sessions import ClientSession
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.ignore_patterns import parse_ignore_file

#: A Dockerfile or .dockerignore above this is none.
_MOST_TEXT = 16 << 20
_PIECE = 512 << 10
_IGNORE = ".dockerignore"
_END = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True, slots=True)
class Definition:
    """The Dockerfile, and what it leaves out of the context."""

    dockerfile: bytes = b""
    excludes: tuple[str, ...] = ()


async def read_definition(session: ClientSession, wanted: Wanted, progress: Progress) -> Definition:
    """Nothing where the context isn't a folder: it has the Dockerfile in it. Raises InvalidArgument, CallFailed."""
    if not wanted.is_folder:
        return Definition()
    name = wanted.request.dockerfile
    with progress.shown(f"[internal] load build definition from {name}") as shown:
        files = await _read_files(session, wanted.dockerfile_folder, _names_of(name))
        data = next((files[one] for one in _names_of(name)[::2] if one in files), None)
        if data is None:
            raise InvalidArgument(f"failed to read dockerfile: open {name}: no such file or directory")
        progress.part(shown, "transferring dockerfile:", len(data))
    with progress.shown("[internal] load .dockerignore") as shown:
        ignore = next((files[one] for one in files if one.endswith(_IGNORE)), None)
        if ignore is None:
            ignore = (await _read_files(session, wanted.context_folder, [_IGNORE])).get(_IGNORE, b"")
        progress.part(shown, "transferring context:", len(ignore))
    return Definition(data, _parse_ignore(ignore))


async def uploaded(context: AsyncIterator[bytes], progress: Progress) -> AsyncGenerator[bytes, None]:
    """A tar that is the context, as it comes."""
    with progress.shown("[internal] load remote build context"):
        async for piece in context:
            yield piece


async def body(
    session: ClientSession, wanted: Wanted, definition: Definition, progress: Progress
) -> AsyncGenerator[bytes, None]:
    """The tar that the build reads, as `BuildRequest.in_parts` describes it; pieces are worth a thread's work."""
    collected = bytearray()
    async with aclosing(_pieces(session, wanted, definition, progress)) as pieces:
        async for piece in pieces:
            collected += piece
            if len(collected) >= _PIECE:
                yield bytes(collected)
                collected.clear()
    if collected:
        yield bytes(collected)


async def _pieces(
    session: ClientSession, wanted: Wanted, definition: Definition, progress: Progress
) -> AsyncGenerator[bytes, None]:
    if wanted.is_folder:
        yield _file("dockerfile", definition.dockerfile)
        with progress.shown("[internal] load build context") as shown:
            async for piece in _transferred(
                session, wanted.context_folder, "context/", definition.excludes, progress, shown
            ):
                yield piece
    elif wanted.uploaded:
        number = 0
        async for piece in uploaded(session.upload(wanted.uploaded), progress):
            yield _file(f"context.tar/{number:08}", piece) if wanted.request.in_parts else piece
            number += 1
    if wanted.request.in_parts:
        async for piece in _further_contexts(session, wanted, progress):
            yield piece
        yield _END


async def _further_contexts(session: ClientSession, wanted: Wanted, progress: Progress) -> AsyncGenerator[bytes, None]:
    for name, folder in wanted.contexts.items():
        excludes = await _read_ignore(session, name, folder, progress)
        with progress.shown(f"[context {name}] load from client") as shown:
            place = f"named/{quote(name, safe='')}/"
            async for piece in _transferred(session, folder, place, excludes, progress, shown):
                yield piece


async def _read_ignore(session: ClientSession, name: str, folder: str, progress: Progress) -> tuple[str, ...]:
    """Of a further context."""
    with progress.shown(f"[context {name}] load .dockerignore") as shown:
        ignore = (await _read_files(session, folder, [_IGNORE])).get(_IGNORE, b"")
        progress.part(shown, "transferring context:", len(ignore))
    return _parse_ignore(ignore)


async def _transferred(
    session: ClientSession, folder: str, place: str, excludes: Iterable[str], progress: Progress, shown: str
) -> AsyncGenerator[bytes, None]:
    """The client's folder as a part of the tar; its size is told in the line that is `shown`."""
    yield _folder(place)
    size = 0
    async for piece in session.folder(folder, place, excludes=excludes):
        size += len(piece)
        yield piece
    progress.part(shown, "transferring context:", size)


def _names_of(dockerfile: str) -> list[str]:
    """Where a Dockerfile may be, each with its .dockerignore."""
    names = [dockerfile, dockerfile.lower()] if dockerfile == "Dockerfile" else [dockerfile]
    return [one for name in names for one in (name, f"{name}{_IGNORE}")]


async def _read_files(session: ClientSession, folder: str, names: Iterable[str]) -> dict[str, bytes]:
    """Those of them that are there. Raises InvalidArgument for one that can't be a text."""
    collected = bytearray()
    async for piece in session.folder(folder, follow=names):
        collected += piece
        if len(collected) > _MOST_TEXT:
            raise InvalidArgument(f"the Dockerfile or .dockerignore is bigger than {_MOST_TEXT >> 20} MiB")
    files = {}
    with tarfile.open(fileobj=io.BytesIO(collected + _END), mode="r:") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None:
                files[member.name] = content.read()
    return files


def _parse_ignore(data: bytes) -> tuple[str, ...]:
    try:
        return parse_ignore_file(data)
    except ValueError as error:
        raise InvalidArgument(f".dockerignore: {error}") from error


def _file(name: str, data: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o600
    return _header(info) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def _folder(name: str) -> bytes:
    info = tarfile.TarInfo(name.rstrip("/"))
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    return _header(info)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
