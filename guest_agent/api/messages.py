"""What travels between the HTTP server and the resources: a request, and four kinds of answer.

They stand here and not in `http/` because the arrow goes http -> api: the server knows these values, the resources
know no server. A test hands a `Request` to the application without any socket.

Glossary: an *answer* is what a handler returns; `Response` is a whole one, `Stream` is one whose body comes bit by bit,
a `Hijack` ends HTTP on the connection and hands both directions over as a `Duplex`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from guest_agent.api.json_bodies import JSON_TYPE, check_content_type, parse_json

#: A JSON body above this is refused. The biggest sane one is a create with some thousand variables: 1 MiB.
MAX_JSON = 16 << 20

TYPE_JSON = JSON_TYPE
Headers = tuple[tuple[str, str], ...]


class Body(Protocol):
    """The bytes of a request as they arrive; whoever doesn't read makes the client wait."""

    def __aiter__(self) -> Body: ...

    async def __anext__(self) -> bytes:
        """The next piece, never empty. Raises PeerMisbehaved when the client ends in the middle."""
        ...

    async def read(self, limit: int) -> bytes:
        """All of it. Raises InvalidArgument above `limit` bytes."""
        ...


class Duplex(Protocol):
    """A connection that has left HTTP: bytes both ways, each direction ends on its own."""

    async def read(self) -> bytes:
        """What has come, at least one byte; b"" when the client has closed its direction (or is gone)."""
        ...

    def send(self, data: bytes) -> None:
        """Queue for writing; for small messages between awaits. Silently dropped when the client is gone."""
        ...

    async def write(self, data: bytes) -> None:
        """Queue, and wait while the client doesn't take it. Returns at once when the client is gone."""
        ...

    async def wait_gone(self) -> None:
        """Returns when the client has closed the connection as a whole (a half-close isn't that)."""
        ...


@dataclass(slots=True)
class Request:
    """One request. `path` has lost its query and its percent signs; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: Body
    #: The handler goes on when the client vanishes: a `stop` that was asked for is carried out. Set by the router.
    survives_client: bool = False

    async def json(self) -> object:
        """The body as JSON; None if it is empty. Raises InvalidArgument in dockerd's words."""
        have_body = self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers
        check_content_type(self.headers.get("content-type", ""), have_body)
        return parse_json(await self.body.read(MAX_JSON))


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer. `afterwards` is called when it has been handed to the kernel's buffer."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: Headers = ()
    afterwards: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer whose header is sent at once and whose body follows as `chunks` yields."""

    chunks: AsyncGenerator[bytes, None]
    status: int = 200
    content_type: str = ""
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Hijack:
    """The end of HTTP on this connection. `session` is always called, even if the client is gone by then: it owns what
    the handler has registered and must give it back."""

    session: Callable[[Duplex], Awaitable[None]]
    content_type: str = ""
    protocol: str = ""  #: the Upgrade that was accepted: 101; "" answers 200 and goes raw all the same
    headers: Headers = field(default=())


Answer = Response | Stream | Hijack


class Application(Protocol):
    """What answers requests; it never raises but for cancellation."""

    async def __call__(self, request: Request) -> Answer: ...

    def at_once(self, request: Request) -> Response | None:
        """The same answer to a request without a body; None where it isn't whole, or has to be waited for."""
        ...


#: Kept: `json.dumps` with separators makes one each time, which takes longer than an event's text.
_ENCODER = json.JSONEncoder(separators=(",", ":"))


def render_json(value: object) -> bytes:
    """Compact, with a newline, as Go's encoder writes. ASCII: a lone surrogate in a label must not break `ps`."""
    return _ENCODER.encode(value).encode() + b"\n"


def json_response(value: object, status: int = 200) -> Response:
    return Response(status, render_json(value), TYPE_JSON)


def no_content() -> Response:
    return Response(204)
