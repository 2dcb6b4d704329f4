"""Bodies that come bit by bit: progress, logs, the two directions of an attach."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Protocol, TypeVar, cast

from guest_agent.api.contract import Attachment
from guest_agent.api.messages import Duplex, render_json
from guest_agent.engine.requests import LogLines
from guest_agent.wire.errors import HostvmError
from guest_agent.wire.frames import encode_header
from guest_agent.wire.times import rfc3339_padded

log = logging.getLogger(__name__)

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"

T = TypeVar("T")


def stream_type(tty: bool, version: tuple[int, int]) -> str:
    """Before API 1.42 both had the one name."""
    return RAW if tty or version < (1, 42) else MULTIPLEXED


class _Closable(Protocol):
    async def aclose(self) -> None: ...


@asynccontextmanager
async def closing(source: AsyncIterator[T]) -> AsyncGenerator[AsyncIterator[T], None]:
    """Ends an async generator with its reader, not when the garbage collector comes by."""
    try:
        yield source
    finally:
        if hasattr(source, "aclose"):
            await cast(_Closable, source).aclose()


async def progress_stream(source: AsyncIterator[dict[str, object]]) -> AsyncGenerator[bytes, None]:
    """JSON lines. Once the header has been sent an error can only be one more line, Docker's `errorDetail`."""
    async with closing(source) as reports:
        try:
            async for report in reports:
                yield render_json(report)
        except HostvmError as error:
            yield render_json({"errorDetail": {"message": error.message}, "error": error.message})
        except Exception:
            log.exception("a stream of progress failed")
            yield render_json({"errorDetail": {"message": "internal error"}, "error": "internal error"})


async def byte_stream(source: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Bytes as they come. An error in the middle can only be told by breaking off."""
    async with closing(source) as pieces:
        async for piece in pieces:
            yield piece


async def begun(source: AsyncIterator[T]) -> AsyncIterator[T]:
    """Waits for the first item, so that an early error is still an HTTP error; returns the whole sequence."""
    try:
        first = await anext(source)
    except StopAsyncIteration:
        return source
    return _resumed(first, source)


async def _resumed(first: T, rest: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    async with closing(rest) as items:
        yield first
        async for item in items:
            yield item


async def chunks_of(source: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The source as a `Stream` wants it; closed with its reader."""
    async with closing(source) as pieces:
        async for piece in pieces:
            yield piece


def frame(stream: int, data: bytes) -> bytes:
    """Docker's multiplexed stream: 8 bytes before each piece."""
    return encode_header(stream, len(data)) + data


async def log_stream(
    blocks: AsyncIterator[LogLines], tty: bool, timestamps: bool, prefix: bytes = b""
) -> AsyncGenerator[bytes, None]:
    """`prefix` stands before each line, behind its time."""
    async with closing(blocks) as source:
        async for lines in source:
            stamp = f"{rfc3339_padded(lines.time_ns)} ".encode() if timestamps else b""
            data = with_prefix(lines, stamp + prefix) if stamp or prefix else lines.data
            yield data if tty else frame_lines(lines.stream, data)


def with_prefix(lines: LogLines, prefix: bytes) -> bytes:
    """The prefix before each line that begins here."""
    text = lines.data[:-1].replace(b"\n", b"\n" + prefix) + lines.data[-1:]
    return prefix + text if lines.begins else text


def frame_lines(stream: int, data: bytes) -> bytes:
    """Each line in a frame of its own: clients of dockerd take a frame for a line."""
    *lines, rest = data.split(b"\n")
    header = _line_header
    frames = [header(stream, len(line) + 1) + line + b"\n" for line in lines]
    return b"".join((*frames, frame(stream, rest))) if rest else b"".join(frames)


_line_header = lru_cache(4096)(encode_header)


async def relay(duplex: Duplex, attachment: Attachment, framed: bool) -> None:
    """Both directions of a docker attach or exec, until the output has ended or the client is gone."""
    try:
        await first_of(_relay_output(duplex, attachment, framed), _relay_input(duplex, attachment))
    finally:
        attachment.close()


async def _relay_output(duplex: Duplex, attachment: Attachment, framed: bool) -> None:
    while (piece := await attachment.read()) is not None:
        await duplex.write(frame(*piece) if framed else piece[1])


async def _relay_input(duplex: Duplex, attachment: Attachment) -> None:
    """Returns when the client is gone; the end of its input alone only closes stdin."""
    while data := await duplex.read():
        await attachment.write(data)
    await attachment.close_stdin()
    await duplex.wait_gone()


async def first_of(*jobs: Coroutine[None, None, None]) -> None:
    """Runs them together until one ends; cancels the others. The error of the one that ended goes up."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()
