"""The life of streams between two ends that are in step."""

from __future__ import annotations

import pytest

from guest_agent.wire.channel_frames import MAX_FRAME, MAX_PAYLOAD, WINDOW
from guest_agent.wire.errors import InvalidArgument, NotFound, Unavailable
from tests.unit.wire.channel_pair import Pair, connected


def test_a_stream_carries_bytes_and_messages_both_ways() -> None:
    pair = connected()
    ours, heard = pair.host.open({"to": "command", "argv": ["true"]})
    ours.write(b"question")
    ours.finish()
    pair.settle()
    theirs, asked = pair.guest.streams[ours.ident]
    assert pair.guest.requests[ours.ident] == {"to": "command", "argv": ["true"]}
    assert (bytes(asked.got), asked.message, heard.was_accepted) == (b"question", {}, True)
    theirs.write(b"answer")
    theirs.finish({"exit": 3})
    pair.settle()
    assert bytes(heard.got) == b"answer"
    assert heard.message == {"exit": 3}
    assert not pair.host.mux.streams
    assert not pair.guest.mux.streams


def test_the_guest_opens_streams_too() -> None:
    pair = connected()
    ours, _ = pair.guest.open({"to": "ports"})
    ours.write(b"bind")
    pair.settle()
    assert pair.host.streams[ours.ident][1].got == b"bind"


def test_a_refusal_has_its_reason_and_leaves_nothing() -> None:
    pair = connected()
    ours, heard = pair.host.open({"to": "nowhere"})
    ours.write(b"too early")
    pair.settle()
    assert isinstance(heard.error, Unavailable)
    assert heard.error.message == "there is no such place"
    assert not pair.host.mux.streams
    assert not pair.guest.mux.streams


def test_a_reset_reaches_the_other_end_while_data_is_on_its_way() -> None:
    pair = connected()
    ours, heard = pair.host.open()
    pair.settle()
    theirs, asked = pair.guest.streams[ours.ident]
    ours.write(b"a" * 1000)
    theirs.write(b"b" * 1000)
    ours.reset(NotFound("gone"))
    theirs.finish()
    pair.settle()
    assert isinstance(asked.error, NotFound)
    assert heard.error is None, "whoever resets knows it"
    assert pair.host.violations == pair.guest.violations == 0
    assert not pair.host.mux.streams
    assert not pair.guest.mux.streams


def test_both_ends_reset_at_once() -> None:
    pair = connected()
    ours, _ = pair.host.open()
    pair.settle()
    ours.reset()
    pair.guest.streams[ours.ident][0].reset()
    pair.settle()
    assert not pair.host.mux.streams
    assert not pair.guest.mux.streams
    assert pair.host.violations == pair.guest.violations == 0


def test_a_stream_reset_before_it_was_opened_is_over_at_both_ends() -> None:
    pair = connected()
    ours, _ = pair.host.open()
    ours.reset()
    pair.settle()
    assert not pair.host.mux.streams
    assert not pair.guest.mux.streams
    assert pair.guest.violations == 0


def test_a_stalled_receiver_gets_a_window_and_no_more() -> None:
    pair = connected()
    ours, _ = pair.host.open()
    pair.settle()
    theirs, asked = pair.guest.streams[ours.ident]
    asked.stalled = True
    sent = bytes(range(256)) * (3 * WINDOW // 256)
    ours.write(sent)
    pair.settle()
    assert len(asked.got) == WINDOW
    assert ours.queued == len(sent) - WINDOW
    asked.go_on(theirs)
    pair.settle()
    assert asked.got == sent


def test_a_stalled_stream_does_not_stall_others() -> None:
    pair = connected()
    stuck, _ = pair.host.open()
    pair.settle()
    pair.guest.streams[stuck.ident][1].stalled = True
    stuck.write(b"x" * (10 * WINDOW))
    other, _ = pair.host.open()
    other.write(b"y" * (10 * WINDOW))
    pair.settle()
    assert len(pair.guest.streams[other.ident][1].got) == 10 * WINDOW


def test_streams_take_turns() -> None:
    """Of ten streams with much to send, each gets a frame before any gets its third."""
    pair = connected()
    opened = [pair.host.open()[0] for _ in range(10)]
    pair.settle()
    for stream in opened:
        stream.write(b"z" * (8 * MAX_PAYLOAD))
    for _ in range(11):
        pair.turn(MAX_FRAME)
    counts = [len(pair.guest.streams[stream.ident][1].got) for stream in opened]
    assert min(counts) > 0
    assert max(counts) <= 2 * MAX_PAYLOAD


def test_more_streams_than_allowed_are_refused() -> None:
    pair = connected()
    opened = [pair.guest.open() for _ in range(25)]
    pair.settle()
    assert sum(heard.was_accepted for _stream, heard in opened) == 20
    assert sum(isinstance(heard.error, Unavailable) for _stream, heard in opened) == 5
    opened[0][0].reset()
    pair.settle()
    again, heard = pair.guest.open()
    pair.settle()
    assert heard.was_accepted
    assert again.ident in pair.host.streams


def test_freezing_drops_all_streams_and_then_nobody_speaks() -> None:
    pair = connected()
    ours, heard = pair.host.open()
    pair.settle()
    pair.guest.streams[ours.ident][0].write(b"late" * 100_000)
    pair.host.mux.freeze()
    pair.settle()
    assert (pair.host.freezes, pair.guest.freezes) == (1, 1)
    assert isinstance(heard.error, Unavailable)
    assert not pair.turn()
    with pytest.raises(Unavailable):
        pair.guest.open()
    pair.host.mux.restart(Unavailable("resumed"))
    pair.settle()
    assert pair.host.mux.is_up
    assert pair.guest.mux.is_up
    assert pair.guest.violations == 0


def test_no_stream_before_both_know_each_other() -> None:
    pair = Pair()
    with pytest.raises(Unavailable):
        pair.host.open()


def test_a_request_that_fits_in_no_frame_is_the_callers_fault() -> None:
    pair = connected()
    with pytest.raises(InvalidArgument):
        pair.host.open({"to": "x" * MAX_FRAME})
    pair.settle()
    assert not pair.host.mux.streams
