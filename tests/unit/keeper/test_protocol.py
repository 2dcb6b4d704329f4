"""Messages and their descriptors come out together, however the stream was cut."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.keeper import protocol

#: How many descriptors each message carries.
COUNTS = st.lists(st.integers(0, 4), min_size=1, max_size=8)


@pytest.fixture
def channel() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@given(COUNTS, st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_any_chunking_keeps_messages_and_descriptors_together(counts: list[int], sizes: list[int]) -> None:
    """The kernel gives a message's descriptors with its first byte; numbers stand for them here."""
    fds = iter(range(1000))
    sent = [(number, [next(fds) for _ in range(count)]) for number, count in enumerate(counts)]
    stream = [wire_form(number, its_fds) for number, its_fds in sent]
    decoder, received = protocol.Decoder(), []
    for data, its_fds in cut(stream, sizes):
        received += decoder.feed(data, its_fds)
    assert [(message["number"], its_fds) for message, its_fds in received] == sent


def wire_form(number: int, fds: list[int]) -> tuple[bytes, list[int]]:
    return protocol.encode({"number": number, "text": "ü" * number, "nfds": len(fds)}), fds


def cut(stream: list[tuple[bytes, list[int]]], sizes: list[int]) -> Iterator[tuple[bytes, list[int]]]:
    """Pieces of these sizes; like recvmsg(2), none goes on behind the first byte of a message with descriptors."""
    turn = 0
    for data, fds in stream:
        while data:
            size = sizes[turn % len(sizes)]
            yield data[:size], fds
            data, fds, turn = data[size:], [], turn + 1


def test_descriptors_arrive_open_in_order_and_closed_on_exec(channel: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = channel
    pipes = [os.pipe() for _ in range(5)]
    protocol.send(sender, {"op": "hold"}, [writer for _reader, writer in pipes[:3]])
    protocol.send(sender, {"op": "spawn"}, [writer for _reader, writer in pipes[3:]])
    received = drain(receiver, 2)
    assert [message["op"] for message, _fds in received] == ["hold", "spawn"]
    arrived = [fd for _message, fds in received for fd in fds]
    for number, fd in enumerate(arrived):
        assert not os.get_inheritable(fd)
        os.write(fd, b"%d" % number)
    assert [os.read(reader, 10) for reader, _writer in pipes] == [b"0", b"1", b"2", b"3", b"4"]
    for fd in (*arrived, *(end for pipe in pipes for end in pipe)):
        os.close(fd)


def drain(receiver: socket.socket, count: int) -> list[tuple[protocol.Message, list[int]]]:
    decoder = protocol.Decoder()
    messages: list[tuple[protocol.Message, list[int]]] = []
    while len(messages) < count:
        messages += decoder.feed(*protocol.receive(receiver))
    return messages


def test_as_many_descriptors_as_the_kernel_passes(channel: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = channel
    protocol.send(sender, {"op": "hold"}, [sender.fileno()] * protocol.MAX_FDS)
    [(_message, fds)] = drain(receiver, 1)
    assert len(fds) == protocol.MAX_FDS
    for fd in fds:
        os.close(fd)


def test_the_end_of_the_stream_is_no_data(channel: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = channel
    sender.close()
    assert protocol.receive(receiver) == (b"", [])
