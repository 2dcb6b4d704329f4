"""The short way for what clients ask most: a plain GET with a whole answer that nobody has to wait for.

h11 checks each field of a head one by one, which takes longer than such an answer's making, and a task takes a turn of
the event loop. Here a head is taken only if nothing in it needs judging: it has come in one piece, with nothing behind
it, and its fields, whose text most clients repeat from request to request, frame no body and ask nothing of the
connection. h11 never hears of such a request; it gets all others, whole.
"""

from __future__ import annotations

import re
from functools import lru_cache

from guest_agent.api.messages import Headers, Request, Response
from guest_agent.http.body import RequestBody
from guest_agent.http.heads import reason, split_target

#: A client with longer heads is no longer the usual one.
_MOST_BYTES = 4096

_LINE = re.compile(rb"GET (/[!-~]*) HTTP/1\.1\r\n")
#: Stricter than RFC 9110: printable ASCII, a space behind the colon, no folding.
_FIELDS = re.compile(rb"(?:[A-Za-z][A-Za-z0-9-]*: [!-~](?:[ -~]*[!-~])?\r\n)+\r\n")
#: Those that say something of the connection or of a body are h11's to judge; secrets aren't kept.
_OTHERS = frozenset(
    "authorization connection content-length expect te trailer transfer-encoding upgrade x-registry-auth".split()
)


def _nothing() -> RequestBody:
    body = RequestBody(on_taken=lambda: None, on_wanted=lambda: None)
    body.end()
    return body


_NO_BODY = _nothing()


def read_plain_get(data: bytes) -> Request | None:
    """The request, if `data` is all of a plain GET; None for everything else, right or wrong."""
    line = _LINE.match(data)
    if line is None or len(data) > _MOST_BYTES:
        return None
    headers = _plain_fields(data[line.end() :])
    if headers is None:
        return None
    path, query = split_target(line[1])
    return Request("GET", path, query, headers, _NO_BODY)


@lru_cache(64)
def _plain_fields(block: bytes) -> dict[str, str] | None:
    """Names in lower case -> values; None unless they are plain, each but once, and the host is among them."""
    if not _FIELDS.fullmatch(block):
        return None
    pairs = [line.split(": ", 1) for line in block.decode("ascii").split("\r\n")[:-2]]
    headers = {name.lower(): value for name, value in pairs}
    if len(headers) < len(pairs) or "host" not in headers or not _OTHERS.isdisjoint(headers):
        return None
    return headers


def render_response(answer: Response) -> bytes:
    """Head and body as h11 would send them, on a connection that is kept."""
    head = _head_start(answer.status, answer.content_type, answer.headers)
    return b"%scontent-length: %d\r\n\r\n%s" % (head, len(answer.body), answer.body)


@lru_cache(64)
def _head_start(status: int, content_type: str, headers: Headers) -> bytes:
    lines = [f"HTTP/1.1 {status} {reason(status).decode()}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines += [f"content-type: {content_type}"] if content_type else []
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")
