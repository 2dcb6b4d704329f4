"""The lines of a lease: what is written is read back, and what a hostile guest writes is refused."""

from __future__ import annotations

import errno
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.wire.errors import Forbidden, PeerMisbehaved
from guest_agent.wire.leases import (
    LONGEST_LINE,
    Answer,
    Bind,
    Bound,
    Done,
    Failed,
    Refused,
    Release,
    Request,
    Serve,
    format_answer,
    format_request,
    parse_answer,
    parse_request,
)
from guest_agent.wire.models import Protocol

BIND = {"id": 1, "op": "bind", "protocol": "tcp", "host_ip": "", "port": 80, "port_end": 0, "container": "a" * 64}
REQUESTS: list[Request] = [
    Bind(Protocol.UDP, "::1", 8000, 8010, "a" * 64),
    Bind(Protocol.TCP, "", 0, 0, "host-network"),
    Serve("172.17.0.2", 80),
    Serve("172.17.0.2", 80, "fd00::2"),
    Release(),
]
ANSWERS: list[Answer] = [
    Bound(8080, "", any_ipv6=True),
    Bound(8080, "127.0.0.1"),
    Refused(errno.EADDRINUSE, "::", "ask lsof"),
    Done(),
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_requests_come_through(request_: Request) -> None:
    line = format_request(7, request_)
    assert line.endswith(b"\n") and len(line) < LONGEST_LINE
    assert parse_request(line) == (7, request_)


@pytest.mark.parametrize("answer", ANSWERS)
def test_answers_come_through(answer: Answer) -> None:
    assert parse_answer(format_answer(7, answer)) == (7, answer)


def test_an_error_comes_through() -> None:
    number, answer = parse_answer(format_answer(7, Failed(Forbidden("no", "because"))))
    assert number == 7 and isinstance(answer, Failed) and isinstance(answer.error, Forbidden)
    assert (answer.error.message, answer.error.hint) == ("no", "because")
    assert parse_answer(b'{"error":{"kind":"unavailable","message":"away"}}')[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"id": 0}, {"id": True}, {"id": "1"}, {"id": 1 << 60}, {"op": "eval"}, {"op": None}, {"protocol": "sctp"},
        {"protocol": 6}, {"host_ip": "localhost"}, {"host_ip": None}, {"host_ip": "fe80::1%../../etc"},
        {"host_ip": "/run/engine.sock"}, {"port": -1}, {"port": 65536}, {"port": 80.0}, {"port": "80"}, {"port": True},
        {"port_end": 79}, {"port": 0, "port_end": 90}, {"port_end": 1 << 20}, {"container": ""},
        {"container": "a" * 129}, {"container": "../x"}, {"container": "a\nb"}, {"container": ["a"]},
        {"op": "serve", "address": "example.com", "port": 80}, {"op": "serve", "address": "1.2.3.4", "port": 0},
    ],
)  # fmt: skip
def test_what_a_hostile_guest_asks_is_refused(change: dict[str, object]) -> None:
    assert parse_request(json.dumps(BIND).encode())
    with pytest.raises(PeerMisbehaved):
        parse_request(json.dumps({**BIND, **change}).encode())


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_else_happens(line: bytes) -> None:
    for parse in (parse_request, parse_answer):
        try:
            parse(line)
        except PeerMisbehaved:
            continue


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(PeerMisbehaved):
        parse_request(b"[" * 100000)
