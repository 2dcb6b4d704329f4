"""gRPC over one HTTP/2 connection, either end of it. Sans-IO: bytes in, events out; h2 knows HTTP/2.

Theory of operation. A call is a stream: its path names a method, each message is five bytes of prefix and a body, the
end is a status in the trailers. Outgoing messages wait here until the peer's windows have room for them; `backlog` says
how much waits. An incoming stream's window is opened again when its messages have been taken, so that a reader who is
slow makes that one call wait; the connection's own window is opened at once, so that no call waits for another.

Whatever the peer does, no method raises for it, except that a call may not begin: what is wrong with a call ends the
call, what is wrong with the connection ends that (`failed`).

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import H2Error, ProtocolError, StreamClosedError, TooManyStreamsError
from h2.settings import SettingCodes, Settings

from guest_agent.rpc.status import CallFailed, Code

#: A message above this is refused, as Go's servers and clients do: 4 MiB, which BuildKit raises to 16 MiB.
MOST_MESSAGE = 16 << 20
#: What the peer may send of one call, and of all, before it hears of us: HTTP/2's own 64 KiB would be a round trip for
#: every two pieces of a file.
_CALL_WINDOW, _WINDOW = 1 << 20, 4 << 20
_DEFAULT_WINDOW = 65535
#: The other two are h2's own limits against a peer that wants to fill our memory.
_SETTINGS = {
    SettingCodes.INITIAL_WINDOW_SIZE: _CALL_WINDOW,
    SettingCodes.MAX_CONCURRENT_STREAMS: 100,
    SettingCodes.MAX_HEADER_LIST_SIZE: H2Connection.DEFAULT_MAX_HEADER_LIST_SIZE,
}
_PREFIX = 5
_CANCEL = 8
#: In a status' message everything else is percent-encoded.
_PLAIN_TEXT = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CallBegan:
    """The peer calls a method."""

    stream: int
    path: str
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class MessageCame:
    """`taken` MUST be called when it has been used."""

    stream: int
    message: bytes


@dataclass(frozen=True, slots=True)
class InputEnded:
    """The caller has said everything."""

    stream: int


@dataclass(frozen=True, slots=True)
class CallEnded:
    """By its status; or reset, or lost with the connection. Nothing can be sent any more."""

    stream: int
    code: int
    message: str


RpcEvent = CallBegan | MessageCame | InputEnded | CallEnded


@dataclass(slots=True)
class _Call:
    incoming: bytearray = field(default_factory=bytearray)
    untaken: int = 0  #: messages
    unopened: int = 0  #: bytes of the window that were used
    outgoing: bytearray = field(default_factory=bytearray)
    head_sent: bool = False
    end: list[tuple[str, str]] | None = None  #: what follows on the outgoing bytes: trailers; [] for none


class RpcConnection:
    """`client`: this end calls; else it is called."""

    def __init__(self, client: bool) -> None:
        self._client = client
        self._h2 = H2Connection(H2Configuration(client_side=client, header_encoding=None))
        self._h2.local_settings = Settings(client, _SETTINGS)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WINDOW - _DEFAULT_WINDOW)
        self._calls: dict[int, _Call] = {}
        self.failed = False

    # -- the peer's bytes

    def receive(self, data: bytes) -> list[RpcEvent]:
        if self.failed:
            return []
        try:
            events = self._h2.receive_data(data)
        except (ProtocolError, H2Error, ValueError, IndexError):
            # h2 has queued a GOAWAY. (ValueError, IndexError: what its parsers have been seen to let through.)
            return self.lose("the peer doesn't speak HTTP/2")
        told = [one for event in events for one in self._take(event)]
        self._flush()
        return told

    def lose(self, reason: str) -> list[RpcEvent]:
        """The connection is over: every call ends."""
        self.failed = True
        ended = [CallEnded(stream, Code.UNAVAILABLE, reason) for stream in self._calls]
        self._calls.clear()
        return list(ended)

    def bytes_to_send(self) -> bytes:
        return bytes(self._h2.data_to_send())

    # -- calls

    def begin_call(self, path: str, metadata: Iterable[tuple[str, str]] = ()) -> int:
        """The new stream. Raises CallFailed: RESOURCE_EXHAUSTED while the peer takes no more, else UNAVAILABLE."""
        if self.failed:
            raise CallFailed(Code.UNAVAILABLE, "the connection is closed")
        head = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost")]
        plain = [("content-type", "application/grpc"), ("te", "trailers"), *metadata]
        try:
            stream: int = self._h2.get_next_available_stream_id()
            self._h2.send_headers(stream, [*head, *plain])
        except TooManyStreamsError as error:
            raise CallFailed(Code.RESOURCE_EXHAUSTED, "the peer takes no more calls at the same time") from error
        except ProtocolError as error:
            raise CallFailed(Code.UNAVAILABLE, "the connection is closed") from error
        self._calls[stream] = _Call(head_sent=True)
        return stream

    def send_message(self, stream: int, message: bytes) -> None:
        call = self._calls.get(stream)
        if call is None or call.end is not None:
            return
        self._send_head(stream, call)
        call.outgoing += b"\0" + len(message).to_bytes(4, "big") + message
        self._flush_call(stream, call)

    def end_input(self, stream: int) -> None:
        """The caller has said everything."""
        self._end(stream, [])

    def finish(self, stream: int, code: int = Code.OK, message: str = "", details: bytes = b"") -> None:
        """The called one's end, behind everything that it has sent. `details` is a google.rpc.Status."""
        trailers = [("grpc-status", str(int(code)))]
        if message:
            trailers.append(("grpc-message", quote(message, safe=_PLAIN_TEXT, errors="replace")))
        if details:
            trailers.append(("grpc-status-details-bin", b64encode(details).decode()))
        call = self._calls.get(stream)
        if call is not None:
            self._send_head(stream, call)
            self._end(stream, trailers)

    def reset(self, stream: int) -> None:
        """Drop a call at once."""
        if self._calls.pop(stream, None) is not None:
            try:
                self._h2.reset_stream(stream, _CANCEL)
            except (ProtocolError, StreamClosedError):
                pass  # closed meanwhile

    def taken(self, stream: int) -> None:
        """One message of it has been used."""
        call = self._calls.get(stream)
        if call is not None:
            call.untaken -= 1
            self._open_window(stream, call)

    def backlog(self, stream: int) -> int:
        """Bytes of a call that wait for room at the peer's."""
        call = self._calls.get(stream)
        return len(call.outgoing) if call is not None else 0

    # -- events

    def _take(self, event: Event) -> list[RpcEvent]:
        if isinstance(event, RequestReceived):
            return self._begin(_stream(event.stream_id), _decode_headers(event.headers))
        if isinstance(event, DataReceived):
            return self._take_data(_stream(event.stream_id), event.data or b"", event.flow_controlled_length or 0)
        if isinstance(event, ResponseReceived | TrailersReceived):
            return self._take_headers(_stream(event.stream_id), _decode_headers(event.headers))
        if isinstance(event, StreamEnded):
            return self._take_end(_stream(event.stream_id))
        if isinstance(event, StreamReset):
            return self._ended(_stream(event.stream_id), Code.CANCELLED, "the call was cancelled")
        if isinstance(event, ConnectionTerminated) and not self._client:
            return []  # a client that goes away; its connection ends by itself
        return self.lose("the peer has ended the connection") if isinstance(event, ConnectionTerminated) else []

    def _begin(self, stream: int, headers: Metadata) -> list[RpcEvent]:
        known = dict(headers)
        self._calls[stream] = _Call()
        if not known.get("content-type", "").startswith("application/grpc"):
            self.finish(stream, Code.INTERNAL, "this is no gRPC")
            return []
        metadata = tuple((name, value) for name, value in headers if not name.startswith(":"))
        return [CallBegan(stream, known.get(":path", ""), metadata)]

    def _take_data(self, stream: int, data: bytes, flow: int) -> list[RpcEvent]:
        self._increment(flow, None)
        call = self._calls.get(stream)
        if call is None:
            return []
        call.incoming += data
        call.unopened += flow
        told: list[RpcEvent] = []
        while len(call.incoming) >= _PREFIX:
            size = int.from_bytes(call.incoming[1:_PREFIX], "big")
            if call.incoming[0]:
                return [*told, *self._refuse(stream, Code.UNIMPLEMENTED, "compressed messages are not supported")]
            if size > MOST_MESSAGE:
                return [*told, *self._refuse(stream, Code.RESOURCE_EXHAUSTED, f"a message of {size} bytes is too big")]
            if len(call.incoming) - _PREFIX < size:
                break
            told.append(MessageCame(stream, bytes(call.incoming[_PREFIX : _PREFIX + size])))
            del call.incoming[: _PREFIX + size]
            call.untaken += 1
        self._open_window(stream, call)
        return told

    def _refuse(self, stream: int, code: int, message: str) -> list[RpcEvent]:
        if not self._client:
            self.finish(stream, code, message)
        self.reset(stream)
        return [CallEnded(stream, code, message)]

    def _take_headers(self, stream: int, headers: Metadata) -> list[RpcEvent]:
        known = dict(headers)
        if "grpc-status" in known:
            code = known["grpc-status"]
            message = unquote(known.get("grpc-message", ""), errors="replace")
            return self._ended(stream, int(code) if code.isdecimal() else Code.UNKNOWN, message)
        if known.get(":status", "200") != "200":
            return self._ended(stream, Code.UNAVAILABLE, f"the peer answered with the HTTP status {known[':status']}")
        return []

    def _take_end(self, stream: int) -> list[RpcEvent]:
        if stream not in self._calls:
            return []
        if self._client:
            return self._ended(stream, Code.UNKNOWN, "the call ended without a status")
        return [InputEnded(stream)]

    def _ended(self, stream: int, code: int, message: str) -> list[RpcEvent]:
        return [CallEnded(stream, code, message)] if self._calls.pop(stream, None) is not None else []

    # -- sending

    def _send_head(self, stream: int, call: _Call) -> None:
        if not call.head_sent:
            call.head_sent = True
            self._send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")], end=False)

    def _end(self, stream: int, trailers: list[tuple[str, str]]) -> None:
        call = self._calls.get(stream)
        if call is not None and call.end is None:
            call.end = trailers
            self._flush_call(stream, call)

    def _flush(self) -> None:
        for stream, call in list(self._calls.items()):
            self._flush_call(stream, call)

    def _flush_call(self, stream: int, call: _Call) -> None:
        try:
            while call.outgoing:
                room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
                if room <= 0:
                    return
                self._h2.send_data(stream, bytes(call.outgoing[:room]))
                del call.outgoing[:room]
        except ProtocolError:
            return  # the stream is closed; its event says so
        if call.end is not None:
            self._send_end(stream, call)

    def _send_end(self, stream: int, call: _Call) -> None:
        trailers, call.end = call.end, None
        if trailers:
            self._send_headers(stream, trailers, end=True)
            self._calls.pop(stream, None)
        else:
            try:
                self._h2.end_stream(stream)
            except ProtocolError:
                pass

    def _send_headers(self, stream: int, headers: Iterable[tuple[str, str]], end: bool) -> None:
        try:
            self._h2.send_headers(stream, list(headers), end_stream=end)
        except ProtocolError:
            pass  # closed meanwhile

    def _open_window(self, stream: int, call: _Call) -> None:
        """Half a message has to go on: nobody can take it."""
        if not call.untaken and call.unopened:
            size, call.unopened = call.unopened, 0
            self._increment(size, stream)

    def _increment(self, size: int, stream: int | None) -> None:
        if size:
            try:
                self._h2.increment_flow_control_window(size, stream)
            except ProtocolError:
                pass  # the stream is closed: it needs no window


def _stream(number: int | None) -> int:
    assert number is not None
    return number


def _decode_headers(headers: Iterable[tuple[bytes | str, bytes | str]] | None) -> Metadata:
    return tuple((_text(name), _text(value)) for name, value in headers or ())


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
