"""The name server's messages, without a socket."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from guest_agent.networks.dns import (
    AAAA,
    PTR,
    A,
    parse_question,
    parse_reverse,
    plan_addresses,
    plan_failure,
    plan_pointer,
)


def query(name: str, kind: int = A, more: bytes = b"", additional: int = 0) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    header = struct.pack("!HHHHHH", 0x1234, 0x0100, 1, 0, 0, additional)
    return header + labels + b"\0" + struct.pack("!HH", kind, 1) + more


def counts(answer: bytes) -> tuple[int, int, int]:
    """(flags, questions, answers)."""
    return struct.unpack_from("!xxHHH", answer)


def test_a_question_is_read() -> None:
    question = parse_question(query("Web.back"))
    assert question is not None and (question.name, question.type, question.limit) == ("Web.back", A, 512)


def test_edns_says_how_long_an_answer_may_be() -> None:
    option = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)
    question = parse_question(query("web", more=option, additional=1))
    assert question is not None and question.limit == 1232


def test_addresses_are_answered_with_the_question_s_name() -> None:
    asked = query("web")
    question = parse_question(asked)
    assert question is not None
    answer = plan_addresses(asked, question, ["10.0.0.2", "10.0.0.3"])
    assert counts(answer) == (0x8180, 1, 2) and answer.startswith(asked[:2])
    assert answer.endswith(struct.pack("!HHHIH", 0xC00C, A, 1, 600, 4) + bytes([10, 0, 0, 3]))
    six = query("web", AAAA)
    question = parse_question(six)
    assert question is not None and plan_addresses(six, question, ["fd00::2"]).endswith(b"\xfd" + bytes(14) + b"\2")
    assert counts(plan_addresses(six, question, [])) == (0x8180, 1, 0)


def test_a_datagram_that_is_too_small_says_so_and_a_stream_has_all() -> None:
    asked = query("all")
    question = parse_question(asked)
    assert question is not None
    many = [f"10.0.0.{number}" for number in range(100)]
    short, whole = (plan_addresses(asked, question, many, stream) for stream in (False, True))
    flags, _, answers = counts(short)
    assert len(short) <= 512 and flags & 0x0200 and answers < 100
    assert counts(whole) == (0x8180, 1, 100)


def test_addresses_back() -> None:
    assert parse_reverse("2.0.9.10.in-addr.arpa") == "10.9.0.2"
    nibbles = ".".join(reversed("fd000077000000000000000000000009"))
    assert parse_reverse(f"{nibbles}.ip6.arpa.") == "fd00:77::9"
    assert parse_reverse("example.com") == parse_reverse("1.2.ip6.arpa") == parse_reverse("x.in-addr.arpa") == ""
    asked = query("2.0.9.10.in-addr.arpa", PTR)
    question = parse_question(asked)
    assert question is not None and plan_pointer(asked, question, "web.back").endswith(b"\x03web\x04back\0")


def test_what_is_no_plain_query_is_for_others() -> None:
    asked = bytearray(query("web"))
    asked[2] |= 0x80  # an answer
    assert parse_question(bytes(asked)) is None
    assert parse_question(query("web")[:-3]) is None
    assert parse_question(b"") is None


def test_a_failure_has_the_question_and_no_more() -> None:
    option = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)
    failed = plan_failure(query("web", more=option, additional=1))
    assert failed == bytes.fromhex("1234818200010000" + "0000" + "0000") + query("web")[12:]


@given(st.binary(min_size=12, max_size=80))
def test_garbage_is_survived(data: bytes) -> None:
    question = parse_question(data)
    plan_failure(data)
    if question is not None:
        plan_addresses(data, question, ["10.0.0.2"])
