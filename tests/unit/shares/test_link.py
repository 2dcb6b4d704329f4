"""The share's port: frames in any pieces, ends that die at any byte, and a host that is away."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.relay.core import AWAY_DEADLINE, RelayCore, plan_init
from guest_agent.wire.share_link import (
    EPOCH_SIZE,
    FLAG_CHECK_PERMISSIONS,
    HOLD,
    MARK_SIZE,
    MAX_REQUEST,
    OP_HELD,
    REQUEST_HEADER,
    SESSION_SIZE,
    Greeting,
    GuestFrames,
    HostFrames,
    pack_answer,
    pack_greeting,
    pack_reply,
    wrap_reply,
)

EPOCH, OTHER = b"e" * EPOCH_SIZE, b"o" * EPOCH_SIZE
SESSION = b"s" * SESSION_SIZE
LOOKUP, GETATTR, FORGET, MKDIR, WRITE, GETXATTR, INIT, IOCTL, FLUSH = 1, 3, 2, 9, 16, 22, 26, 39, 25


def request(unique: int, op: int = GETATTR, body: bytes = b"") -> bytes:
    return REQUEST_HEADER.pack(REQUEST_HEADER.size + len(body), op, unique, 1, 0, 0, 0, 0, 0) + body


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.lists(st.binary(max_size=300), max_size=5), st.lists(st.integers(0, 10**6), max_size=12))
def test_replies_arrive_whole_in_any_pieces(payloads: list[bytes], cuts: list[int]) -> None:
    replies = [pack_reply(number, 0, payload) for number, payload in enumerate(payloads)]
    stream = pack_greeting(EPOCH, SESSION, 1) + b"".join(wrap_reply(reply, EPOCH) for reply in replies)
    reader = HostFrames()
    frames = [frame for piece in pieces(stream, cuts) for frame in reader.feed(piece)]
    assert isinstance(frames[0], Greeting) and frames[0].session == SESSION and frames[0].flags == 1
    assert frames[1:] == replies


@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=200))
def test_a_reply_that_was_cut_is_never_delivered(cut: int, payload: bytes) -> None:
    """A new server's padding completes it, and its end gives it away; what comes after the greeting is whole."""
    wrapped = wrap_reply(pack_reply(7, 0, payload), EPOCH)
    reader = HostFrames()
    reader.feed(pack_greeting(EPOCH, SESSION, 0))
    assert reader.feed(wrapped[: cut % len(wrapped)]) == []
    frames = reader.feed(pack_greeting(OTHER, SESSION, 0) + wrap_reply(pack_reply(8, 0, b"x"), OTHER))
    assert [type(frame) for frame in frames] == [Greeting, bytes]
    assert frames[1] == pack_reply(8, 0, b"x")


@given(st.integers(0, 100), st.binary(max_size=50))
def test_a_greeting_that_was_cut_says_nothing(cut: int, noise: bytes) -> None:
    greeting = pack_greeting(EPOCH, SESSION, FLAG_CHECK_PERMISSIONS)
    reader = HostFrames()
    tail = EPOCH_SIZE + SESSION_SIZE + 1 + MARK_SIZE
    reader.feed(greeting[: len(greeting) - 1 - cut % tail])
    frames = reader.feed(pack_greeting(OTHER, SESSION, 0))
    assert [frame.epoch for frame in frames if isinstance(frame, Greeting)] == [OTHER]


@given(st.lists(st.binary(max_size=100), max_size=5), st.lists(st.integers(0, 10**6), max_size=8), st.binary())
def test_requests_arrive_whole_after_the_answer(bodies: list[bytes], cuts: list[int], before: bytes) -> None:
    """Whatever the guest was in the middle of is passed over."""
    epoch = os.urandom(EPOCH_SIZE)
    requests = [request(number, body=body) for number, body in enumerate(bodies)]
    reader = GuestFrames(epoch)
    stream = before + pack_answer(epoch, SESSION) + b"".join(requests)
    assert [frame for piece in pieces(stream, cuts) for frame in reader.feed(piece)] == requests
    assert reader.session == SESSION


@pytest.mark.parametrize("length", [0, 1, 39, MAX_REQUEST + 1, 0xFFFFFFFF])
def test_a_guest_that_lies_about_a_length_is_cut_off(length: int) -> None:
    reader = GuestFrames(EPOCH)
    reader.feed(pack_answer(EPOCH, SESSION))
    with pytest.raises(ValueError, match="bytes"):
        reader.feed(length.to_bytes(4, "little"))


def test_a_guest_that_never_answers_fills_no_memory() -> None:
    reader = GuestFrames(EPOCH)
    for _ in range(100):
        reader.feed(b"x" * 100_000)
    assert len(reader._buffer) < EPOCH_SIZE


def greeted(epoch: bytes = EPOCH, core: RelayCore | None = None) -> RelayCore:
    core = core or RelayCore()
    core.from_port(pack_greeting(epoch, SESSION, 0))
    return core


def take(core: RelayCore) -> bytes:
    sent = bytes(core.to_port)
    core.to_port.clear()
    return sent


def test_the_relay_keeps_its_session_over_all_servers() -> None:
    core = greeted()
    assert take(core) == pack_answer(EPOCH, SESSION)
    core.from_port(pack_greeting(OTHER, b"another!", 0))
    assert take(core) == pack_answer(OTHER, SESSION)


def test_requests_go_to_the_host_and_replies_to_the_kernel() -> None:
    core = greeted()
    take(core)
    core.from_device(request(5))
    assert take(core) == request(5) and core.pending == 1
    reply = pack_reply(5, 2, b"")
    core.from_port(wrap_reply(reply, EPOCH))
    assert core.to_device == [reply] and core.pending == 0
    core.from_port(wrap_reply(reply, EPOCH))
    assert core.to_device == [reply], "nobody asked twice"


def test_another_server_gets_what_may_be_asked_again() -> None:
    core = greeted()
    appending = bytes(32) + (0o2000).to_bytes(4, "little") + bytes(4)
    for unique, op, body in ((1, LOOKUP, b"x\0"), (2, MKDIR, b""), (3, WRITE, bytes(40)), (4, WRITE, appending)):
        core.from_device(request(unique, op, body))
    take(core)
    greeted(OTHER, core)
    again = request(1, LOOKUP, b"x\0") + request(3, WRITE, bytes(40))
    assert take(core) == pack_answer(OTHER, SESSION) + again
    assert core.to_device == [pack_reply(2, 5, b""), pack_reply(4, 5, b"")]


def test_after_a_hold_nothing_is_sent_and_nothing_is_lost() -> None:
    core = greeted()
    core.from_port(bytes([HOLD]))
    sent = take(core)
    assert REQUEST_HEADER.unpack_from(sent, EPOCH_SIZE + SESSION_SIZE)[1] == OP_HELD
    core.from_device(request(1, MKDIR))
    core.from_device(request(2, FORGET))
    assert take(core) == b"" and core.to_device == []
    greeted(OTHER, core)
    assert take(core) == pack_answer(OTHER, SESSION) + request(1, MKDIR)


def test_nobody_waits_for_ever() -> None:
    core = greeted()
    core.from_device(request(1))
    core.host_is_away(100.0)
    core.from_device(request(2))
    core.tick(100.0 + AWAY_DEADLINE - 1)
    assert core.to_device == [] and core.pending == 2
    core.tick(100.0 + AWAY_DEADLINE)
    core.from_device(request(3))
    assert core.to_device == [pack_reply(unique, 5, b"") for unique in (1, 2, 3)] and core.pending == 0
    core.to_device.clear()
    greeted(OTHER, core)
    core.from_device(request(4))
    assert core.to_device == [] and core.pending == 1


def test_what_the_relay_answers_itself() -> None:
    core = greeted()
    take(core)
    core.from_device(request(1, IOCTL))
    core.from_device(request(2, FLUSH))
    core.from_device(request(3, GETXATTR, bytes(8) + b"security.capability\0"))
    core.from_device(request(4, 36))
    core.from_device(request(5, INIT, bytes(64)))
    assert [reply[4:16] for reply in core.to_device[:3]] == [pack_reply(n, e, b"")[4:] for n, e in
                                                            ((1, 25), (2, 38), (3, 95))]  # fmt: skip
    assert len(core.to_device) == 4 and take(core) == b""
    core.from_device(request(6, GETXATTR, bytes(8) + b"user.x\0"))
    assert take(core)


def test_the_kernel_is_offered_nothing_that_it_hasnt_got() -> None:
    frame = request(1, INIT, (7).to_bytes(4, "little") + (31).to_bytes(4, "little") + bytes(8))
    out = plan_init(frame)
    assert len(out) == 64 and out[:8] == (7).to_bytes(4, "little") + (31).to_bytes(4, "little")
    assert out[12:16] == bytes(4)


@given(st.lists(st.binary(max_size=400), max_size=10))
def test_noise_on_the_port_does_no_harm(noise: list[bytes]) -> None:
    core = RelayCore()
    for piece in noise:
        core.from_port(piece)
    greeted(core=core)
    assert bytes(core.to_port).startswith(pack_answer(EPOCH, b"")[:EPOCH_SIZE])
