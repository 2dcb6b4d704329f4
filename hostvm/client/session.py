"""The client's end of the private exchange: frames in, frames out, and nothing that waits for two things at once.

One thread, one `select`. What is to be sent waits in `_outbox`; while anything waits there, standard input isn't read,
so a container that doesn't read its input makes the user's pipe wait, and never fills our memory. A signal handler may
call `send` at any point: whole frames are appended, and only one `_flush` runs at a time.
"""

import _signal  # type: ignore[import-not-found]  # `signal` builds enums, for 4 ms
from _socket import MSG_DONTWAIT
from _socket import socket as Socket
from posix import pipe, read, set_blocking
from select import select

from guest_agent.wire import frames
from guest_agent.wire.errors import PeerMisbehaved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 1 << 16


class Session:
    """Frames over a stream; `first` is what has been read of it already."""

    def __init__(self, stream: Socket, first: bytes) -> None:
        self._stream = stream
        self._first = first
        self._decoder = frames.FrameDecoder()
        self._outbox = bytearray()
        self._flushing = False
        self._input: int | None = None
        self._woken = -1

    def wake_on_signals(self) -> None:
        """Their handlers run at once, for the rest of the process's life.

        Python's handlers run between two instructions of its own: one whose signal comes between the last of these and
        the system call of `select` would wait until the engine says something. The byte that the interpreter writes
        into this pipe ends `select`.
        """
        self._woken, waking = pipe()
        set_blocking(self._woken, False)
        set_blocking(waking, False)
        _signal.set_wakeup_fd(waking, warn_on_full_buffer=False)

    def follow_input(self, descriptor: int) -> None:
        """From now on what is read there goes to the container; its end becomes a STDIN_EOF."""
        self._input = descriptor

    def send(self, kind: int, payload: bytes = b"") -> None:
        """Queues a frame and sends what can be sent without waiting."""
        self._outbox += frames.encode(kind, payload)
        self._flush()

    def run(self, take: "Callable[[int, bytes], bool]") -> bool:
        """Gives every frame to `take` until it returns True (gives True) or the engine ends the stream (False)."""
        data = self._first
        while True:
            for kind, payload in self._feed(data):
                if take(kind, payload):
                    return True
            received = self._next_data()
            if received is None:
                return False
            data = received

    def close(self) -> None:
        self._stream.close()

    def _feed(self, data: bytes) -> list[tuple[int, bytes]]:
        try:
            return self._decoder.feed(data)
        except frames.FrameTooLarge as error:
            raise PeerMisbehaved(f"the engine's stream can't be read: {error}") from error

    def _next_data(self) -> bytes | None:
        """Serves input and outbox until the engine has sent something; None at the stream's end."""
        while True:
            waiting = bool(self._outbox)
            reading = [self._stream.fileno()]
            if self._input is not None and not waiting:
                reading.append(self._input)
            if self._woken >= 0:
                reading.append(self._woken)
            readable, writable, _ = select(reading, [self._stream.fileno()] if waiting else [], [])
            if self._woken in readable:
                read(self._woken, _CHUNK)
            if writable:
                self._flush()
            if self._input in readable:
                self._read_input()
            if self._stream.fileno() in readable:
                return self._receive()

    def _receive(self) -> bytes | None:
        try:
            return self._stream.recv(_CHUNK) or None
        except ConnectionError:
            return None

    def _read_input(self) -> None:
        assert self._input is not None
        try:
            data = read(self._input, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # the terminal has gone
        if data:
            self.send(frames.STDIN, data)
        else:
            self._input = None
            self.send(frames.STDIN_EOF)

    def _flush(self) -> None:
        if self._flushing:
            return
        self._flushing = True
        try:
            while self._outbox:
                sent = self._stream.send(bytes(self._outbox[:_CHUNK]), MSG_DONTWAIT)
                del self._outbox[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._outbox.clear()  # the engine has gone: reading will say so
            self._input = None
        finally:
            self._flushing = False
