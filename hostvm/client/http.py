"""HTTP/1.1 as a client sees it, sans-IO: bytes in, head and body out (RFC 9112).

`h11` does this for the engine; here it would cost 12 ms of imports on a path that has 3. Only what an engine sends
is understood: a status line, headers, and a body by chunks, by length or until the end.
"""

#: As h11: a head above this is no HTTP.
MAX_HEAD = 64 << 10


class ProtocolError(ValueError):
    """The peer doesn't speak HTTP/1.1."""


class Head:
    """A status line and its headers; names are in lower case."""

    __slots__ = ("headers", "reason", "status")

    def __init__(self, status: int, reason: str, headers: dict[str, str]) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers


def encode_request(method: str, target: str, body: bytes | None = None, headers: str = "") -> bytes:
    """A whole request. `headers` are further lines, each with its CRLF."""
    head = f"{method} {target} HTTP/1.1\r\nHost: hostvm\r\n{headers}"
    if body is None:
        return f"{head}{'Content-Length: 0' + chr(13) + chr(10) if method == 'POST' else ''}\r\n".encode()
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def parse_head(head: bytes) -> Head:
    """The head of a response, without the empty line at its end."""
    status_line, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    code, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or not code.isdigit():
        raise ProtocolError(f"not an HTTP response: {status_line[:80]!r}")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Head(int(code), reason, headers)


class Body:
    """Takes the body out of the stream. `feed` gives its bytes; `done` says that it has ended."""

    __slots__ = ("_buffer", "_chunked", "_in_chunk", "_left", "done")

    def __init__(self, head: Head, method: str) -> None:
        length = head.headers.get("content-length", "")
        self._chunked = head.headers.get("transfer-encoding", "").lower() == "chunked"
        self._left = int(length) if length.isdigit() else -1  #: -1 = until the stream ends
        self._in_chunk = False
        self._buffer = b""
        empty = method == "HEAD" or head.status in (204, 304) or (self._left == 0 and not self._chunked)
        self.done = empty

    def feed(self, data: bytes) -> bytes:
        """The body's part of `data`; b"" at `data` b"" (the end of the stream)."""
        if self.done:
            return b""
        if self._chunked:
            return self._feed_chunks(data)
        if self._left < 0:
            self.done = not data
            return data
        if not data:
            raise ProtocolError("the answer ended too early")
        part = data[: self._left]
        self._left -= len(part)
        self.done = self._left == 0
        return part

    def _feed_chunks(self, data: bytes) -> bytes:
        if not data:
            raise ProtocolError("the answer ended too early")
        self._buffer += data
        parts = []
        while (part := self._next_part()) is not None:
            parts.append(part)
        return b"".join(parts)

    def _next_part(self) -> bytes | None:
        """The next piece of a chunk; b"" where only a line was read; None when more bytes are needed."""
        if self.done:
            return None
        if self._in_chunk:
            return self._take_from_chunk()
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            return None
        self._buffer = rest
        if line:
            self._begin_chunk(line)
        elif self._left == 0:
            self.done = True
        return b""

    def _begin_chunk(self, line: bytes) -> None:
        """A chunk's size line. After size 0 come trailers, then an empty line."""
        if self._left == 0:
            return
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            raise ProtocolError(f"not a chunk's size: {line[:40]!r}") from None
        self._left = size
        self._in_chunk = size > 0

    def _take_from_chunk(self) -> bytes | None:
        part = self._buffer[: self._left]
        if not part:
            return None
        self._buffer = self._buffer[len(part) :]
        self._left -= len(part)
        if self._left == 0:
            self._in_chunk = False
            self._left = -1
        return part
