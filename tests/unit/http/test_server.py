"""The HTTP server over a real unix socket: framing, streams, hijacks, and clients that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import re
import socket
import threading
import time
from collections.abc import AsyncGenerator, Iterator

import pytest

from guest_agent.api.messages import Answer, Duplex, Hijack, Request, Response, Stream
from guest_agent.http import connection
from tests.unit.http.serving import Served, receive_all, receive_until, served


class Application:
    """A handful of paths that show one trait each; `log` tells the test what happened inside."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.release = asyncio.Event()

    async def __call__(self, request: Request) -> Answer:
        answer: Answer = await getattr(self, "do_" + request.path.strip("/"))(request)
        return answer

    def at_once(self, request: Request) -> Response | None:
        return None

    async def do_hello(self, request: Request) -> Answer:
        return Response(200, b"hello\n", "text/plain", (("X-Query", request.query),))

    async def do_echo(self, request: Request) -> Answer:
        return Response(200, await request.body.read(1 << 24), "application/octet-stream")

    async def do_ignore(self, request: Request) -> Answer:
        return Response(200, b"not read", "text/plain")

    async def do_crash(self, request: Request) -> Answer:
        raise RuntimeError("the test wants it")

    async def do_count(self, request: Request) -> Answer:
        async def chunks() -> AsyncGenerator[bytes, None]:
            for number in range(20000):
                yield b"%d\n" % number

        return Stream(chunks(), content_type="text/plain")

    async def do_head_first(self, request: Request) -> Answer:
        async def chunks() -> AsyncGenerator[bytes, None]:
            await self.release.wait()
            yield b"body"

        return Stream(chunks(), content_type="text/plain")

    async def do_release(self, request: Request) -> Answer:
        self.release.set()
        return Response(204)

    async def do_forever(self, request: Request) -> Answer:
        async def chunks() -> AsyncGenerator[bytes, None]:
            try:
                yield b"begun\n"
                await asyncio.Event().wait()
            finally:
                self.log.append("ended")

        return Stream(chunks(), content_type="text/plain")

    async def do_durable(self, request: Request) -> Answer:
        request.survives_client = True
        self.log.append("begun")
        await self.release.wait()
        self.log.append("carried out")
        return Response(204)

    async def do_raw(self, request: Request) -> Answer:
        """Echoes in capitals; says goodbye at the client's half-close."""
        await request.body.read(1 << 16)

        async def session(duplex: Duplex) -> None:
            while data := await duplex.read():
                await duplex.write(data.upper())
            await duplex.write(b"BYE")

        protocol = request.headers.get("upgrade", "")
        return Hijack(session, "application/vnd.docker.raw-stream", protocol)

    async def do_silent(self, request: Request) -> Answer:
        """Doesn't read its raw input at all until the client is gone."""

        async def session(duplex: Duplex) -> None:
            await duplex.wait_gone()
            self.log.append("gone")

        return Hijack(session, protocol="tcp")


@pytest.fixture
def application() -> list[Application]:
    return []


@pytest.fixture
def server(application: list[Application]) -> Iterator[Served]:
    def make() -> Application:
        application.append(Application())
        return application[0]

    with served(make) as place:
        yield place


class Client(http.client.HTTPConnection):
    """Python's own HTTP client over the unix socket."""

    def __init__(self, place: Served) -> None:
        super().__init__("docker", timeout=10)
        self._place = place

    def connect(self) -> None:
        self.sock = self._place.connect()

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        self.request(method, path, body)
        answer = self.getresponse()
        return answer.status, answer.read()


def wait_until(condition: object, seconds: float = 5.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it didn't come true in time"
        time.sleep(0.005)


GET = b"GET /%s HTTP/1.1\r\nHost: docker\r\n\r\n"


def test_one_connection_serves_many_requests(server: Served) -> None:
    client = Client(server)
    assert [client.ask("GET", "/hello") for _ in range(3)] == [(200, b"hello\n")] * 3


def test_a_small_answer_comes_in_one_piece(server: Served) -> None:
    client = server.connect()
    client.sendall(GET % b"hello?a=1")
    answer = client.recv(1 << 16)
    assert answer.endswith(b"\r\n\r\nhello\n") and b"X-Query: a=1" in answer


def test_pipelined_requests_are_answered_in_order(server: Served) -> None:
    client = server.connect()
    client.sendall(b"".join(GET % b"hello?%d" % number for number in range(5)))
    client.shutdown(socket.SHUT_WR)
    assert re.findall(rb"X-Query: (\d)", receive_all(client)) == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_any_chunking_of_the_bytes_is_the_same_request(server: Served, size: int) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"
    message = head + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    client = server.connect()
    for start in range(0, len(message), size):
        client.sendall(message[start : start + size])
    assert receive_until(client, b"hello world").endswith(b"\r\n\r\nhello world")


def test_a_big_body_goes_both_ways(server: Served) -> None:
    body = bytes(range(256)) * 40000
    assert Client(server).ask("POST", "/echo", body) == (200, body)


def test_an_unread_body_does_not_spoil_the_connection(server: Served) -> None:
    client = Client(server)
    assert client.ask("POST", "/ignore", b"x" * 5_000_000) == (200, b"not read")
    assert client.ask("GET", "/hello") == (200, b"hello\n")


def test_expect_100_continue(server: Served) -> None:
    client = server.connect()
    client.sendall(b"POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    assert receive_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 100")
    client.sendall(b"abc")
    assert receive_until(client, b"abc").startswith(b"HTTP/1.1 200")


def test_head_has_no_body(server: Served) -> None:
    client = Client(server)
    assert client.ask("HEAD", "/hello") == (200, b"")
    assert client.ask("GET", "/hello") == (200, b"hello\n")


def test_http_1_0_ends_with_its_answer(server: Served) -> None:
    client = server.connect()
    client.sendall(b"GET /hello HTTP/1.0\r\n\r\n")
    assert receive_all(client).endswith(b"hello\n")


def test_small_pieces_of_a_stream_leave_together(server: Served) -> None:
    client = server.connect()
    client.sendall(GET % b"count")
    answer = receive_until(client, b"0\r\n\r\n")
    assert answer.count(b"\r\n") < 40
    assert Client(server).ask("GET", "/count")[1] == b"".join(b"%d\n" % number for number in range(20000))


def test_the_head_of_a_stream_does_not_wait_for_its_body(server: Served) -> None:
    """The docker CLI starts a container when it sees the head of its `wait`."""
    client = server.connect()
    client.sendall(GET % b"head_first")
    assert receive_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 200")
    Client(server).ask("GET", "/release")
    assert b"body" in receive_until(client, b"0\r\n\r\n")


def test_a_crash_of_the_application_leaves_the_server_alive(server: Served, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises((http.client.HTTPException, OSError)):
        Client(server).ask("GET", "/crash")
    assert "the test wants it" in caplog.text
    assert Client(server).ask("GET", "/hello")[0] == 200


# -- clients that go away


def test_a_stream_ends_with_its_client(server: Served, application: list[Application]) -> None:
    client = server.connect()
    client.sendall(GET % b"forever")
    receive_until(client, b"begun")
    client.close()
    wait_until(lambda: application[0].log == ["ended"])
    wait_until(lambda: server.tasks() == 0)


def test_a_half_closed_client_keeps_its_stream_until_it_is_gone(
    server: Served, application: list[Application], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HALF_CLOSED_CHECK", 0.02)
    client = server.connect()
    client.sendall(GET % b"forever")
    client.shutdown(socket.SHUT_WR)
    receive_until(client, b"begun")
    time.sleep(0.1)
    assert application[0].log == []
    client.close()
    wait_until(lambda: application[0].log == ["ended"])


def test_what_must_be_carried_out_survives_its_client(server: Served, application: list[Application]) -> None:
    client = server.connect()
    client.sendall(GET % b"durable")
    wait_until(lambda: application and application[0].log == ["begun"])
    client.close()
    assert Client(server).ask("GET", "/release")[0] == 204
    wait_until(lambda: application[0].log == ["begun", "carried out"])


def test_a_body_that_breaks_off_ends_the_request(server: Served) -> None:
    client = server.connect()
    client.sendall(b"POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 100\r\n\r\nonly this")
    wait_until(lambda: server.tasks() == 1)
    client.close()
    wait_until(lambda: server.tasks() == 0)


def test_a_client_that_does_not_read_stops_the_stream_not_the_server(server: Served) -> None:
    client = server.connect()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sendall((GET % b"count") * 20)
    assert Client(server).ask("GET", "/hello")[0] == 200
    client.close()
    wait_until(lambda: server.tasks() == 0)


def test_a_slow_head_is_cut_off(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_DEADLINE", 0.05)
    client = server.connect()
    client.sendall(b"GET /hello HT")
    with contextlib.suppress(ConnectionError):
        assert client.recv(100) == b""


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),  # no Host
        (b"GET / HTTP/1.1\r\nHost: d\r\nX: " + b"y" * (connection.MAX_HEAD + 100), b"431"),
        (b"POST /hello HTTP/1.1\r\nHost: d\r\nContent-Length: -1\r\n\r\n", b"400"),
    ],
)
def test_malformed_heads_are_refused(server: Served, message: bytes, status: bytes) -> None:
    client = server.connect()
    threading.Thread(target=_send_quietly, args=(client, message)).start()
    assert receive_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 " + status)


def _send_quietly(client: socket.socket, message: bytes) -> None:
    with contextlib.suppress(OSError):
        client.sendall(message)


# -- hijack


@pytest.mark.parametrize("upgrade", [True, False])
def test_a_hijack_goes_raw_in_both_directions(server: Served, upgrade: bool) -> None:
    headers = b"Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else b""
    client = server.connect()
    client.sendall(b"POST /raw HTTP/1.1\r\nHost: d\r\n" + headers + b"Content-Length: 2\r\n\r\n{}early ")
    head, _, output = receive_until(client, b"EARLY").partition(b"\r\n\r\n")
    expected = b"HTTP/1.1 101 UPGRADED" if upgrade else b"HTTP/1.1 200 OK"
    assert head.startswith(expected) and (b"Upgrade: tcp" in head) is upgrade
    client.sendall(b"late")
    client.shutdown(socket.SHUT_WR)
    assert output + receive_all(client) == b"EARLY LATEBYE"


def test_a_raw_session_learns_that_its_client_is_gone(server: Served, application: list[Application]) -> None:
    client = server.connect()
    client.sendall(b"POST /silent HTTP/1.1\r\nHost: d\r\n\r\nsomething")
    receive_until(client, b"\r\n\r\n")
    client.close()
    wait_until(lambda: application[0].log == ["gone"])


def test_the_end_of_a_session_does_not_reset_a_client_that_still_writes(server: Served) -> None:
    """Closing a unix socket over unread input gives its peer ECONNRESET (af_unix.c, unix_release_sock)."""
    client = server.connect()
    client.sendall(b"POST /raw HTTP/1.1\r\nHost: d\r\n\r\nx")
    client.shutdown(socket.SHUT_WR)
    assert receive_all(client).endswith(b"XBYE")


# -- shutdown


def test_shutdown_lets_answers_end_and_cuts_streams(application: list[Application]) -> None:
    def make() -> Application:
        application.append(Application())
        return application[0]

    with served(make) as place:
        stream, idle, busy = place.connect(), place.connect(), place.connect()
        stream.sendall(GET % b"forever")
        receive_until(stream, b"begun")
        busy.sendall(GET % b"durable")
        wait_until(lambda: "begun" in application[0].log)
        place.stop()
        wait_until(lambda: "ended" in application[0].log)
        assert idle.recv(1) == b""
        assert place.loop
        place.loop.call_soon_threadsafe(application[0].release.set)
        assert b"204" in receive_all(busy)


def test_nothing_is_kept_of_a_client_that_left_in_the_middle(server: Served, application: list[Application]) -> None:
    """Cut off by the cancellation of its task, a connection stayed in the server's set for ever."""
    for _ in range(3):
        client = server.connect()
        client.sendall(GET % b"forever")
        receive_until(client, b"begun")
        client.close()
    wait_until(lambda: application[0].log == ["ended"] * 3)
    wait_until(lambda: server.server is not None and not server.server.connections)
