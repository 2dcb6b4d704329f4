"""One request over one stream: sent, answered, and its errors turned into those of `wire.errors`.

A connection is made for each request: on a unix socket that costs 0.05 ms, and no state can go stale.
"""

from _socket import AF_UNIX, SOCK_STREAM
from _socket import socket as Socket

from guest_agent.wire.errors import HostvmError, PeerMisbehaved, error_from
from hostvm.client.http import MAX_HEAD, Body, Head, ProtocolError, encode_request, parse_head
from hostvm.client.jsontext import dumps, loads, loads_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

API = "/v1.44"

#: HTTP status -> kind, for an engine that sends Docker's bare {"message"}.
_KIND_OF_STATUS = {
    304: "not-modified", 400: "invalid-argument", 401: "unauthorized", 403: "forbidden", 404: "not-found",
    409: "conflict", 501: "unsupported", 503: "unavailable",
}  # fmt: skip


def connect_unix(path: str) -> Socket:
    """A stream to the unix socket at `path`. Raises OSError."""
    stream = Socket(AF_UNIX, SOCK_STREAM)
    try:
        stream.connect(path)
    except OSError:
        stream.close()
        raise
    return stream


class Answer:
    """A response whose body is still to be read. `rest` is what came after the head."""

    __slots__ = ("_body", "head", "rest", "stream")

    def __init__(self, stream: Socket, head: Head, rest: bytes, method: str) -> None:
        self.stream = stream
        self.head = head
        self.rest = rest
        self._body = Body(head, method)

    @property
    def done(self) -> bool:
        """All of the body has come."""
        return self._body.done

    def receive(self) -> bytes:
        """What one read of the stream gives of the body, perhaps nothing."""
        data, self.rest = self.rest or self.stream.recv(1 << 16), b""
        return self._body.feed(data)

    def chunks(self) -> "Iterator[bytes]":
        """The body's bytes as they come; the stream is closed at its end. PeerMisbehaved where it is cut off."""
        while not self.done:
            try:
                part = self.receive()
            except (ProtocolError, ConnectionError) as error:  # an engine that was killed
                raise _unreadable(error) from error
            if part:
                yield part
        self.stream.close()

    def read(self) -> bytes:
        return b"".join(self.chunks())


class LineReader:
    """An answer of JSON objects, one a line, for whoever waits for several streams at once."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._pending = b""
        self.ended = False

    def fileno(self) -> int:
        return self._answer.stream.fileno()

    def take(self) -> list[dict[str, object]]:
        """The objects that one read of the readable stream completes."""
        try:
            data = self._answer.receive()
        except (ConnectionError, ProtocolError):
            data, self.ended = b"", True
        return self._objects(data)

    def take_rest(self) -> list[dict[str, object]]:
        """The objects that came together with the answer's head, which no readable stream tells of."""
        return self._objects(self._answer.receive() if self._answer.rest else b"")

    def _objects(self, data: bytes) -> list[dict[str, object]]:
        *whole, self._pending = (self._pending + data).split(b"\n")
        if self.ended or self._answer.done:
            self.close()
        return [loads_object(line) for line in whole if line.strip()]

    def close(self) -> None:
        self.ended = True
        self._answer.stream.close()


class Engine:
    """The engine as its client sees it: `connect` gives a fresh stream to it.

    `api` is the version that is asked for; "" takes what another engine has.
    """

    def __init__(self, connect: "Callable[[], Socket]", api: str = API) -> None:
        self._connect = connect
        self._api = api

    def open(self, method: str, path: str, body: object = None, headers: str = "") -> Answer:
        """Sends a request and reads the answer's head. Raises the engine's error if that is what came."""
        stream = self._connect()
        payload = None if body is None else dumps(body).encode()
        try:
            stream.sendall(encode_request(method, self._api + path, payload, headers))
        except ConnectionError:
            pass  # refused before its end: the answer says why
        return self._receive(stream, method)

    def _receive(self, stream: Socket, method: str) -> Answer:
        try:
            head, rest = _read_head(stream)
            answer = Answer(stream, head, rest, method)
            if head.status >= 300:
                raise _error_of(head.status, answer.read())
        except (ProtocolError, ConnectionError) as error:
            stream.close()
            raise _unreadable(error) from error
        return answer

    def call(self, method: str, path: str, body: object = None, headers: str = "") -> object:
        """A request whose answer is JSON, or nothing (None)."""
        return _decode(self.open(method, path, body, headers).read(), path)

    def ask(self, method: str, path: str) -> "Callable[[], object]":
        """Sends a request; the function that it gives waits for the answer. Between the two there is time to use."""
        stream = self._connect()
        stream.sendall(encode_request(method, self._api + path))
        return lambda: _decode(self._receive(stream, method).read(), path)

    def find(self, path: str) -> dict[str, object]:
        """GET of one JSON object."""
        value = self.call("GET", path)
        if not isinstance(value, dict):
            raise PeerMisbehaved(f"the engine's answer to {path} is no object")
        return value

    def records(self, path: str) -> "list[dict[str, object]]":
        """GET of a JSON list of objects."""
        return _list(self.call("GET", path), path)

    def ask_records(self, path: str) -> "Callable[[], list[dict[str, object]]]":
        """`records` in two steps, as `ask`."""
        answer = self.ask("GET", path)
        return lambda: _list(answer(), path)

    def lines(self, method: str, path: str, headers: str = "") -> "Iterator[dict[str, object]]":
        """A request whose answer is a stream of JSON objects, one a line."""
        return _objects(self.open(method, path, None, headers))

    def upload(self, path: str, body: "Iterator[bytes]", headers: str = "") -> "Iterator[dict[str, object]]":
        """POST of a tar stream, in chunks; the answer as `lines` gives it."""
        return _objects(self.send_archive("POST", path, body, headers))

    def put(self, path: str, body: "Iterator[bytes]") -> None:
        """PUT of a tar stream, in chunks."""
        self.send_archive("PUT", path, body).read()

    def send_archive(self, method: str, path: str, body: "Iterator[bytes]", headers: str = "") -> Answer:
        """A tar stream, in chunks; reads the answer's head, as `open` does."""
        stream = self._connect()
        headers += "Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n"
        try:
            stream.sendall(f"{method} {self._api}{path} HTTP/1.1\r\nHost: hostvm\r\n{headers}".encode())
            for chunk in body:
                if chunk:
                    stream.sendall(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            stream.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before its end: the answer says why
        return self._receive(stream, method)

    def upgrade(self, path: str, body: object, protocol: str = "hostvm-session") -> tuple[Socket, bytes]:
        """Begins a private exchange; gives the stream and what has already come of it."""
        headers = f"Connection: Upgrade\r\nUpgrade: {protocol}\r\n"
        answer = self.open("POST", path, body, headers)
        if answer.head.status != 101:
            raise PeerMisbehaved(f"the engine answered {answer.head.status} to a request for {protocol}")
        return answer.stream, answer.rest


def _read_head(stream: Socket) -> tuple[Head, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = stream.recv(1 << 16)
        if not chunk:
            raise ProtocolError("the connection ended before the answer")
        data += chunk
        if len(data) > MAX_HEAD and b"\r\n\r\n" not in data:
            raise ProtocolError("the head of the answer doesn't end")
    head, _, rest = data.partition(b"\r\n\r\n")
    return parse_head(head), rest


def _unreadable(error: Exception) -> PeerMisbehaved:
    return PeerMisbehaved(f"the engine's answer can't be read: {error}")


def _decode(text: bytes, path: str) -> object:
    try:
        return loads(text) if text.strip() else None
    except ValueError as error:
        raise PeerMisbehaved(f"the engine's answer to {path} is no JSON: {error}") from error


def _list(value: object, path: str) -> "list[dict[str, object]]":
    if not isinstance(value, list):
        raise PeerMisbehaved(f"the engine's answer to {path} is no list")
    return value


def _objects(answer: Answer) -> "Iterator[dict[str, object]]":
    pending = b""
    for chunk in answer.chunks():
        *whole, pending = (pending + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield loads_object(line)
    if pending.strip():
        yield loads_object(pending)


def _error_of(status: int, body: bytes) -> HostvmError:
    """The error that an answer describes, with our own kind and hint where the engine is ours."""
    try:
        fields = loads_object(body)
    except ValueError:
        fields = {"message": body.decode(errors="replace").strip()}
    message = str(fields.get("message") or f"status {status}")
    kind = str(fields.get("kind") or _KIND_OF_STATUS.get(status, "internal"))
    return error_from(kind, message, str(fields.get("hint") or ""))
