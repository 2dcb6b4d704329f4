"""The channel under any chunking, any interleaving, deaths in the middle of frames, and peers that send anything."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest_agent.wire.channel_frames import (
    DATA,
    HEADER,
    KINDS,
    MARK,
    MAX_FRAME,
    MAX_PAYLOAD,
    OPEN,
    WINDOW,
    encode_session,
)
from guest_agent.wire.channel_stream import StreamEnd
from guest_agent.wire.errors import NotFound, Unavailable
from tests.unit.wire.channel_pair import End, Listener, Pair, connected


@dataclass
class Talk:
    """One stream's side: what was written into it, and whether that was all."""

    stream: StreamEnd
    heard: Listener
    sent: bytearray = field(default_factory=bytearray)
    finished: bool = False
    was_reset: bool = False


@dataclass
class World:
    """Two ends, what is on its way between them, and every side of every stream in the present life."""

    pair: Pair = field(default_factory=connected)
    talks: dict[tuple[bool, int], Talk] = field(default_factory=dict)
    counter: int = 0

    def end(self, is_host: bool) -> End:
        return self.pair.host if is_host else self.pair.guest

    def gather(self) -> list[Talk]:
        """Streams that the other end opened are found here."""
        for is_host in (True, False):
            for ident, (stream, heard) in self.end(is_host).streams.items():
                self.talks.setdefault((is_host, ident), Talk(stream, heard))
        return list(self.talks.values())

    def push(self, is_host: bool, most: int) -> None:
        taken = self.end(is_host).take_output(most)
        if is_host:
            self.pair.to_guest += taken
        else:
            self.pair.to_host += taken

    def deliver(self, is_host: bool, most: int) -> None:
        """Bytes on their way to this end arrive."""
        if is_host:
            data, self.pair.to_host = self.pair.to_host[:most], self.pair.to_host[most:]
        else:
            data, self.pair.to_guest = self.pair.to_guest[:most], self.pair.to_guest[most:]
        self.end(is_host).feed(data)

    def text(self, size: int) -> bytes:
        """Never the same twice, so that nothing can be exchanged unnoticed."""
        self.counter += 1
        return (b"%d." % self.counter * (size // 2 + 1))[:size]


SIZES = st.sampled_from([1, 7, 100, 1000, MAX_PAYLOAD, MAX_PAYLOAD + 1, WINDOW // 2, WINDOW, WINDOW + 5])
CHUNKS = st.one_of(st.integers(1, 60), st.sampled_from([4096, MAX_FRAME, MAX_FRAME + 1, 1 << 20]))
KINDS_OF_STEPS = "open open write write write finish reset stall go push push push deliver deliver deliver"
Step = tuple[str, bool, int, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            "open open write write write finish reset stall go push push push deliver deliver deliver".split()
        ),
        st.booleans(),
        st.integers(0, 100),
        SIZES,
        CHUNKS,
    ),
    min_size=8,
    max_size=80,
)


def step(world: World, what: str, is_host: bool, which: int, size: int, chunk: int) -> None:
    end = world.end(is_host)
    if what == "open" and end.mux.is_up and len(end.streams) < 15:
        end.open()
    elif what == "push":
        world.push(is_host, chunk)
    elif what == "deliver":
        world.deliver(is_host, chunk)
    elif talks := world.gather():
        act(world, talks[which % len(talks)], what, size)


def act(world: World, talk: Talk, what: str, size: int) -> None:
    alive = talk.stream.is_open and talk.heard.error is None and not talk.was_reset
    if what == "write" and alive and not talk.finished and len(talk.sent) < 3 * WINDOW:
        text = world.text(size)
        talk.stream.write(text)
        talk.sent += text
    elif what == "finish" and alive:
        talk.stream.finish()
        talk.finished = True
    elif what == "reset" and alive:
        talk.was_reset = True
        talk.stream.reset(NotFound("enough"))
    elif what == "stall":
        talk.heard.stalled = True
    elif what == "go" and talk.heard.stalled:
        talk.heard.go_on(talk.stream)


def check_credit(world: World) -> None:
    for talk in world.gather():
        assert 0 <= talk.stream.credit <= WINDOW
        assert 0 <= talk.stream.window <= WINDOW


def come_to_rest(world: World) -> None:
    """Everybody listens again, and everything arrives."""
    for talk in world.gather():
        talk.heard.go_on(talk.stream)
    world.pair.settle()
    for talk in world.gather():
        talk.heard.go_on(talk.stream)
    world.pair.settle()


def check_delivery(world: World) -> None:
    """What one side wrote is what the other got: all of it, or where a side was reset, a beginning of it."""
    for (is_host, ident), talk in world.talks.items():
        other = world.talks.get((not is_host, ident))
        got = bytes(other.heard.got) if other else b""
        assert bytes(talk.sent).startswith(got)
        if other and not talk.was_reset and not other.was_reset:
            assert got == bytes(talk.sent)
            assert (other.heard.message is not None) == talk.finished


@settings(deadline=None, max_examples=150)
@given(STEPS)
def test_everything_arrives_in_order_however_it_is_cut(steps: list[Step]) -> None:
    world = World()
    for one in steps:
        step(world, *one)
        check_credit(world)
    come_to_rest(world)
    check_delivery(world)
    assert world.pair.host.violations == world.pair.guest.violations == 0
    over = [talk for talk in world.talks.values() if talk.was_reset or talk.heard.error]
    assert not {talk.stream.ident for talk in over} & (
        world.pair.host.mux.streams.keys() | world.pair.guest.mux.streams
    )


@settings(deadline=None, max_examples=100)
@given(STEPS, st.booleans(), st.integers(0, 3 * MAX_FRAME), STEPS)
def test_an_end_that_dies_in_the_middle_of_anything_is_replaced(
    before: list[Step],
    host_dies: bool,
    lost: int,
    after: list[Step],
) -> None:
    world = World()
    for one in before:
        step(world, *one)
    survivor = world.end(not host_dies)
    heard = [talk.heard for (is_host, _), talk in world.talks.items() if is_host is not host_dies]
    got = [bytes(listener.got) for listener in heard]
    kill(world, host_dies, lost)
    world.pair.settle()
    assert survivor.mux.is_up
    assert world.end(host_dies).mux.is_up
    assert survivor.violations <= 1
    for listener, old in zip(heard, got, strict=True):
        assert bytes(listener.got).startswith(old)
        assert not bytes(listener.got[len(old) :]).count(0), "padding was taken for data"
    world.talks.clear()
    survivor.streams.clear()
    survivor.violations = 0
    for one in after:
        step(world, *one)
        check_credit(world)
    come_to_rest(world)
    check_delivery(world)
    assert world.pair.host.violations == world.pair.guest.violations == 0


def kill(world: World, host_dies: bool, lost: int) -> None:
    """Its successor knows nothing, and the last bytes that it wrote, and those on their way to it, may be lost."""
    pair = world.pair
    if host_dies:
        pair.to_guest = pair.to_guest[: max(0, len(pair.to_guest) - lost)]
        pair.to_host = pair.to_host[lost:]
        pair.host = End(is_host=True)
    else:
        pair.to_host = pair.to_host[: max(0, len(pair.to_host) - lost)]
        pair.to_guest = pair.to_guest[lost:]
        pair.guest = End(is_host=False)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(STEPS, st.integers(0, 3000), st.booleans()), max_size=3))
def test_a_wire_that_is_cut_again_and_again(
    cuts: list[tuple[list[Step], int, bool]],
) -> None:
    world = World()
    for steps, lost, both_notice in cuts:
        for one in steps:
            step(world, *one)
        world.pair.to_guest, world.pair.to_host = world.pair.to_guest[lost:], b""
        world.pair.host.mux.restart(Unavailable("cut"))
        if both_notice:
            world.pair.guest.mux.restart(Unavailable("cut"))
        world.talks.clear()
        world.pair.host.streams.clear()
        world.pair.guest.streams.clear()
        world.pair.settle()
    assert world.pair.host.mux.is_up
    assert world.pair.guest.mux.is_up


def frame(kind: int, ident: int, length: int, payload: bytes, mark: int) -> bytes:
    return HEADER.pack(kind, ident, length) + payload + bytes((mark,))


KIND = st.one_of(st.sampled_from(sorted(KINDS)), st.integers(0, 255))
JSON = st.sampled_from([b"", b"{}", b'{"to":"x"}', b"[]", b"{", b"\xff", b"[" * 5000, b"1" * 5000, b'{"kind":[]}'])
FRAMES = st.builds(
    lambda kind, ident, payload, wrong, mark: frame(kind, ident, len(payload) + wrong, payload, mark),
    KIND,
    st.one_of(st.integers(0, 8), st.integers(0, 2**32 - 1)),
    st.one_of(JSON, st.binary(max_size=64)),
    st.one_of(st.just(0), st.integers(0, 2**31)),
    st.sampled_from([MARK, 0]),
)
SESSIONS = st.builds(
    encode_session, st.sampled_from([0xC7, 0xC8, 0xC9]), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)
)
GARBAGE = st.lists(st.one_of(FRAMES, SESSIONS, st.binary(max_size=100), st.just(bytes(MAX_FRAME))), max_size=8)


@settings(deadline=None, max_examples=300)
@given(STEPS, GARBAGE, st.booleans(), CHUNKS)
def test_garbage_never_crashes_nor_hangs_and_ends_in_step(
    steps: list[Step], garbage: list[bytes], at_host: bool, chunk: int
) -> None:
    world = World()
    for one in steps:
        step(world, *one)
    victim = world.end(at_host)
    data = b"".join(garbage)
    chunk = max(chunk, len(data) // 200 + 1)
    for at in range(0, len(data), chunk):
        victim.feed(data[at : at + chunk])
        check_bounds(victim)
    world.end(not at_host).mux.restart(Unavailable("somebody else was at the wire"))
    world.pair.to_host = world.pair.to_guest = b""
    world.pair.settle()
    assert world.pair.host.mux.is_up
    assert world.pair.guest.mux.is_up
    world.talks.clear()
    world.pair.host.streams.clear()
    world.pair.guest.streams.clear()
    stream, _ = world.pair.host.open()
    stream.write(b"as before")
    world.pair.settle()
    assert world.pair.guest.streams[stream.ident][1].got == b"as before"


def check_bounds(end: End) -> None:
    assert len(end.mux.streams) <= 60
    assert all(talk.kept <= WINDOW for _stream, talk in end.streams.values())


@pytest.mark.parametrize(
    "wrong",
    [
        frame(DATA, 1, 1, b"x", 0),
        frame(DATA, 99, 1, b"x", MARK),
        frame(DATA, 1, 0, b"", MARK),
        frame(DATA, 1, MAX_PAYLOAD + 1, b"", MARK),
        frame(OPEN, 1, 2, b"{}", MARK),
        frame(OPEN, 0, 2, b"{}", MARK),
        frame(OPEN, 2, 2, b"[]", MARK),
        frame(0xC2, 1, 0, b"", MARK),  # accepted already
        frame(0xC4, 1, WINDOW, b"", MARK),  # more credit than was used
        frame(0xC5, 99, 0, b"", MARK),
        frame(0xC8, 0, 0, b"", MARK),
        encode_session(0xC8, 1, 1),  # a guest can't freeze its host
        encode_session(0xC9, 1, 1),
        b"\xff" * 20,
    ],
)
def test_a_violation_costs_all_streams_and_both_begin_anew(wrong: bytes) -> None:
    pair = connected()
    _stream, heard = pair.host.open()
    pair.settle()
    pair.host.feed(wrong)
    assert pair.host.violations == 1
    assert heard.error is not None
    pair.settle()
    assert pair.host.mux.is_up
    assert pair.guest.mux.is_up
    assert pair.guest.downs == 1
    assert not pair.guest.mux.streams


def test_more_than_the_window_is_a_violation() -> None:
    pair = connected()
    stream, heard = pair.host.open()
    pair.settle()
    heard.stalled = True
    for _ in range(WINDOW // 1024):
        pair.host.feed(frame(DATA, stream.ident, 1024, bytes(1024), MARK))
    assert pair.host.violations == 0
    pair.host.feed(frame(DATA, stream.ident, 1, b"x", MARK))
    assert pair.host.violations == 1


def test_refusals_that_are_never_answered_are_bounded() -> None:
    pair = connected()
    for ident in range(2, 200, 2):
        pair.host.feed(frame(OPEN, ident, 16, b'{"to":"nowhere"}', MARK))
        if pair.host.violations:
            break
    assert pair.host.violations == 1
    assert not pair.host.mux.streams
