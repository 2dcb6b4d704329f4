"""Reading and writing pipes and terminals without blocking the event loop.

The other end of a pipe belongs to a container. A process that splices into it waits for its own source with the pipe
locked (splice_file_to_pipe in the kernel's splice.c), likewise one that splices out of it for its target; whatever else
reads, writes or asks about that pipe waits with it, O_NONBLOCK or not. So each such call has a thread; poll(2) alone
takes no lock.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from guest_agent.store.threads import finish_in

_READ_SIZE = 1 << 16

#: Usually one thread. More than there will ever be locked pipes: those mustn't keep the others' bytes waiting.
PIPE_THREADS = ThreadPoolExecutor(max_workers=1 << 14, thread_name_prefix="pipe")


async def _wait_for(add: Callable[..., None], remove: Callable[[int], bool], fds: list[int]) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ready() -> None:
        if not future.done():
            future.set_result(None)

    for fd in fds:
        add(fd, ready)
    try:
        await future
    finally:
        for fd in fds:
            remove(fd)


async def wait_readable(fds: list[int]) -> None:
    """Until one of the descriptors can be read, or has ended."""
    loop = asyncio.get_running_loop()
    await _wait_for(loop.add_reader, loop.remove_reader, fds)


def events_of(fd: int) -> int:
    """poll(2)'s for who reads, at this moment: 0 = nothing yet; without POLLIN = the end."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return sum(events for _, events in poll.poll(0))


async def write_all(fd: int, data: bytes) -> bool:
    """Write to a non-blocking descriptor, waiting while it is full; False where nobody reads any more."""
    loop = asyncio.get_running_loop()
    view = memoryview(data)
    while view:
        try:
            written = await finish_in(PIPE_THREADS, partial(os.write, fd, view))
            view = view[written:]
        except BlockingIOError:
            await _wait_for(loop.add_writer, loop.remove_writer, [fd])
        except OSError:  # EPIPE: the process closed its end; EIO: a terminal without a process
            return False
    return True


def read_available(fd: int) -> bytes | None:
    """What a non-blocking descriptor holds; None where nothing is there yet, b"" at the end."""
    try:
        return os.read(fd, _READ_SIZE)
    except BlockingIOError:
        return None
    except OSError:  # EIO: the last process of a terminal has gone (tty_read in the kernel's tty_io.c)
        return b""


class PipeSource:
    """Output read straight from pipes, as fast as the client takes it: what `exec` shows."""

    def __init__(self, streams: dict[int, int]) -> None:
        """`streams`: descriptor -> 1 or 2. They belong to the source from now on."""
        self._streams = streams
        self._reading = False
        self._closed = False
        for fd in streams:
            os.set_blocking(fd, False)

    async def read(self) -> tuple[int, bytes] | None:
        """The next piece, or None when all have ended."""
        self._reading = True
        try:
            while self._streams:
                found = await self._next()
                if found is not None:
                    return found
            return None
        finally:
            self._reading = False
            if self._closed:
                self.close()

    async def _next(self) -> tuple[int, bytes] | None:
        """A piece; None where a stream has ended, or nothing was there in the end."""
        await wait_readable(list(self._streams))
        for fd, stream in list(self._streams.items()):
            events = events_of(fd)
            ended = events and not events & select.POLLIN
            data = await finish_in(PIPE_THREADS, partial(read_available, fd)) if events and not ended else None
            if data:
                return stream, data
            if ended or data == b"":
                del self._streams[fd]
                os.close(fd)
        return None

    async def drain(self) -> None:
        """Read to the end what nobody wants: a writer must neither wait nor be told that his reader has gone."""
        while await self.read() is not None:
            pass

    def copy(self) -> PipeSource:
        """The same pipes by descriptors of its own."""
        return PipeSource({os.dup(fd): stream for fd, stream in self._streams.items()})

    def close(self) -> None:
        """At once, or when the read under way has ended: a descriptor is never closed while the loop watches it."""
        self._closed = True
        if self._reading:
            return
        for fd in self._streams:
            os.close(fd)
        self._streams.clear()
