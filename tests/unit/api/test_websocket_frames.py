"""The websocket's frames: any message in any pieces, and what a peer may not send."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.api.websocket_frames import (
    Close,
    CloseCode,
    Data,
    FrameReader,
    Opcode,
    Ping,
    WebSocketEvent,
    accept_key,
    encode_close,
    encode_frame,
)
from guest_agent.wire.errors import PeerMisbehaved


def masked(opcode: int, payload: bytes, final: bool = True, mask: bytes = b"\x01\x80\xff\x00") -> bytes:
    """As a client sends it, byte by byte from the RFC."""
    size = len(payload)
    length, more = (size, b"") if size < 126 else (126, struct.pack("!H", size)) if size < 1 << 16 else (
        127, struct.pack("!Q", size)
    )  # fmt: skip
    body = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes([(0x80 if final else 0) | opcode, 0x80 | length]) + more + mask + body


def read_all(data: bytes, cuts: list[int]) -> list[WebSocketEvent]:
    reader, events, start = FrameReader(), [], 0
    for cut in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        events += list(reader.feed(data[start:cut]))
        start = cut
    return events


def payload_of(events: list[WebSocketEvent]) -> bytes:
    return b"".join(event.payload for event in events if isinstance(event, Data))


def test_the_rfcs_own_example() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert list(FrameReader().feed(bytes.fromhex("818537fa213d7f9f4d5158"))) == [Data(b"Hello")]
    assert encode_frame(Opcode.TEXT, b"Hello") == bytes.fromhex("810548656c6c6f")


@given(st.lists(st.binary(max_size=300), max_size=5), st.lists(st.integers(0, 5000), max_size=8))
def test_any_fragments_in_any_pieces(fragments: list[bytes], cuts: list[int]) -> None:
    """A message in fragments with a ping between them, cut anywhere, gives its bytes, the pings, and the close."""
    wire = b""
    for number, fragment in enumerate(fragments):
        opcode = Opcode.BINARY if number == 0 else Opcode.CONTINUATION
        wire += masked(opcode, fragment, number == len(fragments) - 1) + masked(Opcode.PING, b"still there?")
    wire += masked(Opcode.CLOSE, struct.pack("!H", 1001) + b"going away")
    events = read_all(wire, cuts)
    assert payload_of(events) == b"".join(fragments)
    assert [event for event in events if not isinstance(event, Data)] == [Ping(b"still there?")] * len(fragments) + [
        Close(1001)
    ]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 200_000])
def test_sizes(size: int) -> None:
    data = os.urandom(size)
    assert payload_of(read_all(masked(Opcode.BINARY, data), [1, 5, 9000])) == data
    head = encode_frame(Opcode.BINARY, data)[: 2 if size < 126 else 4 if size < 65536 else 10]
    assert encode_frame(Opcode.BINARY, data) == head + data


def test_many_small_frames_cost_no_more_than_they_are() -> None:
    assert payload_of(list(FrameReader().feed(masked(Opcode.TEXT, b"x") * 40_000))) == b"x" * 40_000


@pytest.mark.parametrize(
    "wire",
    [
        b"\x81\x05Hello",  # not masked
        masked(0x83 & 0x0F, b""),  # unknown opcode
        b"\xc1" + masked(Opcode.TEXT, b"")[1:],  # reserved bit
        masked(Opcode.CONTINUATION, b"x"),  # continues nothing
        masked(Opcode.TEXT, b"a", final=False) + masked(Opcode.TEXT, b"b"),  # a message within a message
        masked(Opcode.PING, b"", final=False),
        masked(Opcode.PING, b"x" * 126),
        masked(Opcode.CLOSE, b"\x03"),
        b"\x82\xff" + b"\xff" * 8 + b"\0\0\0\0",
    ],
)
def test_what_is_refused(wire: bytes) -> None:
    with pytest.raises(PeerMisbehaved):
        list(FrameReader().feed(wire))


@given(st.binary(max_size=64), st.lists(st.integers(0, 64), max_size=3))
def test_any_bytes_are_events_or_a_misbehaving_peer(data: bytes, cuts: list[int]) -> None:
    try:
        events = read_all(data, cuts)
    except PeerMisbehaved:
        return
    assert len(payload_of(events)) <= len(data)


def test_closing() -> None:
    assert encode_close(CloseCode.NORMAL) == b"\x88\x02\x03\xe8"
    assert encode_close(CloseCode.NONE_GIVEN) == b"\x88\x00"
    assert list(FrameReader().feed(masked(Opcode.CLOSE, b""))) == [Close(CloseCode.NONE_GIVEN)]
