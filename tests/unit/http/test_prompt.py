"""The short way for plain requests: it takes only what h11 takes, reads the same from it, and answers alike."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.api.messages import Answer, Request, Response
from guest_agent.http import heads
from guest_agent.http.prompt import read_plain_get, render_response
from tests.unit.http.serving import receive_all, receive_until, served

HOST = b"Host: docker\r\n"
PLAIN = b"GET /containers/json?all=1 HTTP/1.1\r\n" + HOST + b"User-Agent: Go-http-client/1.1\r\n\r\n"


class Application:
    """Says in its body which way was taken."""

    async def __call__(self, request: Request) -> Answer:
        return Response(200, b"awaited\n", "text/plain", (("X-Path", request.path),))

    def at_once(self, request: Request) -> Response | None:
        return None if request.path == "/later" else Response(200, b"at once\n", "text/plain", (("X-Path", "/"),))


def test_a_plain_request_is_read() -> None:
    request = read_plain_get(PLAIN)
    assert request is not None
    assert (request.method, request.path, request.query) == ("GET", "/containers/json", "all=1")
    assert request.headers == {"host": "docker", "user-agent": "Go-http-client/1.1"}


@pytest.mark.parametrize(
    "data",
    [
        PLAIN[:-1],
        PLAIN + b"G",
        PLAIN.replace(b"GET", b"POST"),
        PLAIN.replace(b"1.1\r\n", b"1.0\r\n", 1),
        PLAIN.replace(b"/containers", b"http://docker/containers"),
        PLAIN.replace(b"/containers", b"/cont\xc3\xa4iners"),
        PLAIN.replace(HOST, b""),
        PLAIN.replace(HOST, HOST + HOST),
        PLAIN.replace(HOST, HOST + b"Content-Length: 0\r\n"),
        PLAIN.replace(HOST, HOST + b"Transfer-Encoding: chunked\r\n"),
        PLAIN.replace(HOST, HOST + b"Connection: close\r\n"),
        PLAIN.replace(HOST, HOST + b"Expect: 100-continue\r\n"),
        PLAIN.replace(HOST, HOST + b"X-Registry-Auth: c2VjcmV0\r\n"),
        PLAIN.replace(HOST, HOST + b" folded\r\n"),
        PLAIN.replace(HOST, HOST + b"A : b\r\n"),
        PLAIN.replace(HOST, HOST + b"A: b\0\r\n"),
        PLAIN.replace(HOST, HOST + b"A: b\n"),
        PLAIN.replace(HOST, HOST + b"A: " + b"b" * 4096 + b"\r\n"),
    ],
)
def test_everything_else_is_left_to_h11(data: bytes) -> None:
    assert read_plain_get(data) is None


FIELDS = st.lists(st.tuples(st.from_regex(rb"[!-~]{1,8}", fullmatch=True), st.binary(max_size=12)), max_size=4)


@given(st.binary(max_size=20), FIELDS)
def test_what_is_taken_h11_takes_and_reads_alike(target: bytes, fields: list[tuple[bytes, bytes]]) -> None:
    """Invariant: the short way is never more lenient than h11, and hands on the same request."""
    lines = b"".join(b"%s: %s\r\n" % field for field in fields)
    data = b"GET /" + target + b" HTTP/1.1\r\n" + HOST + lines + b"\r\n"
    taken = read_plain_get(data)
    if taken is None:
        return
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(data)
    event = reader.next_event()
    assert isinstance(event, h11.Request)
    assert isinstance(reader.next_event(), h11.EndOfMessage)
    assert reader.trailing_data == (b"", False)
    by_h11 = heads.read_request(event, taken.body)
    assert (taken.path, taken.query, taken.headers) == (by_h11.path, by_h11.query, by_h11.headers)


@pytest.mark.parametrize(
    "answer",
    [
        Response(200, b"{}\n", "application/json", (("Api-Version", "1.44"),)),
        Response(404, b"", "application/json"),
        Response(200, b"OK"),
    ],
)
def test_an_answer_is_the_same_byte_by_byte(answer: Response) -> None:
    writer = h11.Connection(h11.SERVER)
    writer.receive_data(PLAIN)
    writer.next_event()
    parts = (heads.response_head(answer), h11.Data(data=answer.body), h11.EndOfMessage())
    assert render_response(answer) == b"".join(writer.send(part) or b"" for part in parts)


CLOSING = PLAIN.replace(HOST, HOST + b"Connection: close\r\n")


def test_both_ways_take_turns_on_one_connection() -> None:
    later = PLAIN.replace(b"/containers/json", b"/later")
    with served(Application) as place, place.connect() as client:
        for request, body in ((PLAIN, b"at once\n"), (later, b"awaited\n"), (PLAIN, b"at once\n")):
            client.sendall(request)
            assert receive_until(client, b"\r\n\r\n" + body).startswith(b"HTTP/1.1 200 OK\r\n")
        client.sendall(CLOSING)
        assert receive_all(client).endswith(b"awaited\n")


def test_requests_behind_one_another_are_answered_in_order() -> None:
    with served(Application) as place, place.connect() as client:
        client.sendall(PLAIN + PLAIN + CLOSING)
        assert receive_all(client).count(b"awaited\n") == 3


def test_a_head_in_two_pieces_isn_t_torn() -> None:
    """The second piece looks like nothing, or even like a request of its own."""
    with served(Application) as place, place.connect() as client:
        client.sendall(b"POST /a HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n" % (len(PLAIN) + 1) + b"x")
        client.sendall(PLAIN)
        client.sendall(CLOSING)
        assert receive_all(client).count(b"awaited\n") == 2
