"""Two ends in memory: calls, windows, ends; and a peer that sends anything."""

from __future__ import annotations

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived
from hypothesis import given, settings
from hypothesis import strategies as some

from guest_agent.rpc.connection import (
    MOST_MESSAGE,
    CallBegan,
    CallEnded,
    InputEnded,
    MessageCame,
    RpcConnection,
    RpcEvent,
)
from guest_agent.rpc.status import CallFailed, Code

_HEAD = [(":method", "POST"), (":path", "/a/b"), (":scheme", "http"), (":authority", "x")]
_GRPC = [*_HEAD, ("content-type", "application/grpc"), ("te", "trailers")]


class Ends:
    """A client and a server; `pump` carries bytes in pieces until nothing is left to say."""

    def __init__(self, piece: int = 1 << 20) -> None:
        self.client, self.server = RpcConnection(client=True), RpcConnection(client=False)
        self.at_client: list[RpcEvent] = []
        self.at_server: list[RpcEvent] = []
        self._piece = piece

    def pump(self) -> None:
        while True:
            to_server, to_client = self.client.bytes_to_send(), self.server.bytes_to_send()
            if not to_server and not to_client:
                return
            for start in range(0, len(to_server), self._piece):
                self.at_server += self.server.receive(to_server[start : start + self._piece])
            for start in range(0, len(to_client), self._piece):
                self.at_client += self.client.receive(to_client[start : start + self._piece])


def messages_of(events: list[RpcEvent]) -> list[bytes]:
    return [event.message for event in events if isinstance(event, MessageCame)]


@settings(max_examples=40, deadline=None)
@given(some.lists(some.binary(max_size=40_000), max_size=6), some.integers(1, 70_000))
def test_a_call_in_any_pieces(messages: list[bytes], piece: int) -> None:
    ends = Ends(max(piece, 1 if sum(map(len, messages)) < 5000 else 700))
    stream = ends.client.begin_call("/service/method", [("name", "välue")])
    for one in messages:
        ends.client.send_message(stream, one)
    ends.client.end_input(stream)
    while len(messages_of(ends.at_server)) < len(messages) or InputEnded(stream) not in ends.at_server:
        before = len(messages_of(ends.at_server))
        ends.pump()
        for _ in range(len(messages_of(ends.at_server)) - before):
            ends.server.taken(stream)
    began = ends.at_server[0]
    assert isinstance(began, CallBegan) and began.path == "/service/method"
    assert ("name", "välue") in began.metadata
    assert messages_of(ends.at_server) == messages
    ends.server.send_message(stream, b"answer")
    ends.server.finish(stream)
    ends.pump()
    assert ends.at_client == [MessageCame(stream, b"answer"), CallEnded(stream, Code.OK, "")]


def test_an_error_has_its_code_and_its_words() -> None:
    ends = Ends()
    stream = ends.client.begin_call("/a/b")
    ends.pump()
    ends.server.finish(stream, Code.UNKNOWN, "100 % nötig\nzwei")
    ends.pump()
    assert ends.at_client == [CallEnded(stream, Code.UNKNOWN, "100 % nötig\nzwei")]


def test_a_reader_that_takes_nothing_stops_its_own_call_only() -> None:
    """A MiB of window a call; what is beyond waits at the sender."""
    ends = Ends()
    slow, quick = ends.client.begin_call("/slow/call"), ends.client.begin_call("/quick/call")
    for _ in range(40):
        ends.client.send_message(slow, bytes(100_000))
    ends.client.send_message(quick, b"here")
    ends.pump()
    assert ends.client.backlog(slow) > 2_000_000
    assert MessageCame(quick, b"here") in ends.at_server
    taken = 0
    while taken < 40:
        arrived = sum(isinstance(event, MessageCame) and event.stream == slow for event in ends.at_server)
        for _ in range(arrived - taken):
            ends.server.taken(slow)
        taken = arrived
        ends.pump()
    assert ends.client.backlog(slow) == 0


def test_a_message_bigger_than_the_window_arrives() -> None:
    ends = Ends()
    stream = ends.client.begin_call("/a/b")
    ends.client.send_message(stream, bytes(3 << 20))
    ends.pump()
    assert messages_of(ends.at_server) == [bytes(3 << 20)]


def test_a_cancelled_call() -> None:
    ends = Ends()
    stream = ends.client.begin_call("/a/b")
    ends.pump()
    ends.client.reset(stream)
    ends.pump()
    assert ends.at_server[-1] == CallEnded(stream, Code.CANCELLED, "the call was cancelled")
    ends.server.send_message(stream, b"too late")
    ends.server.finish(stream)
    ends.pump()


def test_the_connections_end_is_every_calls() -> None:
    ends = Ends()
    stream = ends.client.begin_call("/a/b")
    assert ends.client.lose("gone") == [CallEnded(stream, Code.UNAVAILABLE, "gone")]
    assert ends.client.receive(b"more") == []


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\1" + bytes(4), Code.UNIMPLEMENTED),
        (b"\0" + (MOST_MESSAGE + 1).to_bytes(4, "big"), Code.RESOURCE_EXHAUSTED),
    ],
)
def test_messages_that_nobody_takes(sent: bytes, code: int) -> None:
    """Compressed, or above the limit: the call ends, the connection goes on."""
    server, client = RpcConnection(client=False), H2Connection(H2Configuration(client_side=True))
    client.initiate_connection()
    client.send_headers(1, _GRPC)
    client.send_data(1, sent)
    client.send_headers(3, _GRPC)
    events = server.receive(client.data_to_send())
    assert [type(event) for event in events] == [CallBegan, CallEnded, CallBegan]
    ended = events[1]
    assert isinstance(ended, CallEnded) and ended.code == code
    assert not server.failed


def test_a_request_that_is_no_call() -> None:
    server, client = RpcConnection(client=False), H2Connection(H2Configuration(client_side=True))
    client.initiate_connection()
    client.send_headers(1, _HEAD, end_stream=True)
    assert server.receive(client.data_to_send()) == []
    (answer, *_) = [
        event for event in client.receive_data(server.bytes_to_send()) if isinstance(event, ResponseReceived)
    ]
    assert answer.stream_id == 1


@settings(deadline=None)
@given(some.lists(some.binary(max_size=200), max_size=5), some.booleans(), some.booleans())
def test_a_peer_may_send_anything(pieces: list[bytes], client: bool, preface: bool) -> None:
    """Events or the connection's end; never an exception."""
    connection = RpcConnection(client)
    if client:
        connection.begin_call("/a/b")
    if preface:
        connection.receive(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
    for piece in pieces:
        connection.receive(piece)
        connection.bytes_to_send()


@settings(deadline=None)
@given(some.data())
def test_a_broken_conversation(drawn: some.DataObject) -> None:
    """What a client really says, with some bytes changed."""
    client = RpcConnection(client=True)
    stream = client.begin_call("/a/b", [("key", "value")])
    client.send_message(stream, b"message" * 20)
    client.end_input(stream)
    said = bytearray(client.bytes_to_send())
    for _ in range(drawn.draw(some.integers(1, 4))):
        said[drawn.draw(some.integers(0, len(said) - 1))] = drawn.draw(some.integers(0, 255))
    server = RpcConnection(client=False)
    for event in server.receive(bytes(said)):
        if isinstance(event, CallBegan):
            server.send_message(event.stream, b"answer")
            server.finish(event.stream)
    server.bytes_to_send()


def test_a_call_beyond_those_that_the_peer_takes() -> None:
    """A hundred at the same time. The next one was registered, never sent, and so never ended."""
    ends = Ends()
    ends.pump()
    streams = [ends.client.begin_call("/a/b") for _ in range(100)]
    with pytest.raises(CallFailed) as failed:
        ends.client.begin_call("/a/b")
    assert failed.value.code == Code.RESOURCE_EXHAUSTED
    ends.pump()
    ends.server.finish(streams[0])
    ends.client.end_input(streams[0])
    ends.pump()
    again = ends.client.begin_call("/a/b")
    ends.pump()
    assert CallBegan(again, "/a/b", (("content-type", "application/grpc"), ("te", "trailers"))) in ends.at_server
    assert len(ends.client.lose("gone")) == 100


def test_a_call_on_a_connection_that_is_over() -> None:
    client = RpcConnection(client=True)
    client.receive(bytes(9))  # data of no stream
    with pytest.raises(CallFailed) as failed:
        client.begin_call("/a/b")
    assert failed.value.code == Code.UNAVAILABLE
