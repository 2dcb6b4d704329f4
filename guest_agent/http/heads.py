"""Pure: what h11 reads and writes, to and from `api.messages`.

h11 frames requests and ordinary answers. The head of a hijack is written here by hand: Docker answers `101 UPGRADED`,
and goes raw after a plain `200 OK` when the client didn't ask for an upgrade, which is no HTTP that h11 would send.
"""

from __future__ import annotations

from urllib.parse import unquote

import h11

from guest_agent.api.messages import Body, Headers, Hijack, Request, Response, Stream

_RawHeaders = list[tuple[bytes, bytes]]


def split_target(target: bytes) -> tuple[str, str]:
    """(path, query) of a request target; the absolute form ("http://docker/info") is accepted."""
    path, _, query = target.decode("latin-1").partition("?")
    if not path.startswith("/") and "://" in path:
        path = "/" + path.partition("://")[2].partition("/")[2]
    return unquote(path), query


def read_request(event: h11.Request, body: Body) -> Request:
    """A repeated header keeps its first value: Docker's API knows no list-valued one."""
    headers: dict[str, str] = {}
    for name, value in event.headers:
        headers.setdefault(name.decode("ascii"), value.decode("latin-1"))
    path, query = split_target(event.target)
    return Request(event.method.decode("ascii"), path, query, headers, body)


def _raw(headers: Headers) -> _RawHeaders:
    return [(name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in headers]


def response_head(answer: Response) -> h11.Response:
    headers = _raw(answer.headers)
    if answer.content_type:
        headers.append((b"content-type", answer.content_type.encode("ascii")))
    if answer.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(answer.body)))
    return h11.Response(status_code=answer.status, headers=headers, reason=reason(answer.status))


def stream_head(answer: Stream) -> h11.Response:
    """Without a length h11 chooses: chunked, or until the connection's end for an HTTP/1.0 client."""
    headers = _raw(answer.headers)
    headers.append((b"content-type", answer.content_type.encode("ascii")))
    return h11.Response(status_code=answer.status, headers=headers, reason=reason(answer.status))


def hijack_head(answer: Hijack) -> bytes:
    lines = ["HTTP/1.1 101 UPGRADED" if answer.protocol else "HTTP/1.1 200 OK"]
    if answer.content_type:
        lines.append(f"Content-Type: {answer.content_type}")
    if answer.protocol:
        lines += ["Connection: Upgrade", f"Upgrade: {answer.protocol}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def reason(status: int) -> bytes:
    return _REASONS.get(status, b"")


_REASONS = {
    200: b"OK", 201: b"Created", 204: b"No Content", 304: b"Not Modified", 400: b"Bad Request",
    401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found", 408: b"Request Timeout", 409: b"Conflict",
    431: b"Request Header Fields Too Large", 500: b"Internal Server Error", 501: b"Not Implemented",
    503: b"Service Unavailable",
}  # fmt: skip
