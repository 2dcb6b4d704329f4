"""The client's HTTP and JSON, in any chunking."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.wire.errors import Conflict, NotFound, PeerMisbehaved
from hostvm.client.connection import Engine, connect_unix
from hostvm.client.http import Body, Head, ProtocolError, encode_request, parse_head
from hostvm.client.jsontext import compact, dumps, loads, pretty
from tests.unit.cli.conftest import Outcome, Start
from tests.unit.cli.fake_engine import Reply

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def cut(data: bytes, lengths: list[int]) -> list[bytes]:
    """The data in pieces; the lengths are used one after the other."""
    pieces = []
    for length in lengths:
        pieces.append(data[:length])
        data = data[length:]
    return [piece for piece in [*pieces, data] if piece]


@given(st.binary(max_size=200), st.lists(st.integers(1, 50), max_size=8), st.lists(st.integers(1, 9), max_size=40))
def test_chunked_body_in_any_pieces(body: bytes, chunks: list[int], cuts: list[int]) -> None:
    wire = b"".join(f"{len(part):X};x=1\r\n".encode() + part + b"\r\n" for part in cut(body, chunks))
    wire += b"0\r\nTrailer: 1\r\n\r\n"
    reader = Body(Head(200, "OK", {"transfer-encoding": "chunked"}), "GET")
    assert b"".join(reader.feed(piece) for piece in cut(wire, cuts)) == body
    assert reader.done


@given(st.binary(min_size=1, max_size=100), st.lists(st.integers(1, 9), max_size=20))
def test_body_by_length_in_any_pieces(body: bytes, cuts: list[int]) -> None:
    reader = Body(Head(200, "OK", {"content-length": str(len(body))}), "GET")
    assert b"".join(reader.feed(piece) for piece in cut(body + b"more", cuts)) == body
    assert reader.done


@pytest.mark.parametrize(
    ("status", "method", "headers"),
    [
        (204, "POST", {}),
        (304, "POST", {}),
        (200, "HEAD", {"content-length": "5"}),
        (200, "GET", {"content-length": "0"}),
    ],
)
def test_no_body(status: int, method: str, headers: dict[str, str]) -> None:
    assert Body(Head(status, "", headers), method).done


def test_body_until_the_end() -> None:
    reader = Body(Head(200, "", {}), "GET")
    assert reader.feed(b"abc") == b"abc" and not reader.done
    assert reader.feed(b"") == b"" and reader.done


@pytest.mark.parametrize("headers", [{"content-length": "9"}, {"transfer-encoding": "chunked"}])
def test_cut_off_body_is_noticed(headers: dict[str, str]) -> None:
    reader = Body(Head(200, "", headers), "GET")
    reader.feed(b"1")
    with pytest.raises(ProtocolError):
        reader.feed(b"")


@given(st.binary(max_size=60))
def test_garbage_is_no_chunk(data: bytes) -> None:
    reader = Body(Head(200, "", {"transfer-encoding": "chunked"}), "GET")
    try:
        reader.feed(data)
    except ProtocolError:
        pass


@pytest.mark.parametrize("head", [b"SSH-2.0-OpenSSH", b"HTTP/1.1 OK", b"HTTP/2 200", b""])
def test_what_is_no_http_is_refused(head: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_head(head)


def test_request_has_its_length() -> None:
    assert encode_request("POST", "/x", b"{}").endswith(b"Content-Length: 2\r\n\r\n{}")
    assert b"Content-Length: 0" in encode_request("POST", "/x")
    assert b"Content-Length" not in encode_request("GET", "/x")


@given(JSON)
def test_json_round_trip(value: object) -> None:
    assert loads(dumps(value)) == json.loads(json.dumps(value)) == value
    assert json.loads(compact(value)) == value
    assert json.loads(pretty(value)) == value


@given(JSON)
def test_pretty_is_what_json_makes_of_it(value: object) -> None:
    assert pretty(value) == json.dumps(value, indent=4, ensure_ascii=False)


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nan", "NaN", "1 2", '{"a":}'])
def test_bad_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)


def test_errors_come_back_with_class_and_hint(start_engine: Start) -> None:
    replies = {
        "GET /ours": Reply({"message": "taken", "kind": "conflict", "hint": "rename it"}, 409),
        "GET /dockers": Reply({"message": "No such thing"}, 404),
        "GET /broken": Reply(b"<html>", 200),
        "GET /chunked": Reply([1, {"a": "ü"}], 200, chunked=True),
    }
    path = str(start_engine(replies=replies).path)
    engine = Engine(lambda: connect_unix(path))
    with pytest.raises(Conflict) as caught:
        engine.call("GET", "/ours")
    assert (caught.value.message, caught.value.hint) == ("taken", "rename it")
    with pytest.raises(NotFound):
        engine.call("GET", "/dockers")
    with pytest.raises(PeerMisbehaved):
        engine.find("/broken")
    assert engine.call("GET", "/chunked") == [1, {"a": "ü"}]


def test_nobody_there(hostvm: Callable[..., Outcome]) -> None:
    outcome = hostvm("ps")
    assert outcome.code == 1
    assert outcome.err.startswith("Cannot connect to the hostvm engine at unix://")
    assert "\nhint: " in outcome.err
    assert hostvm("run", "busybox").code == 125


def test_other_hosts_are_refused(hostvm: Callable[..., Outcome]) -> None:
    assert hostvm("-H", "tcp://1.2.3.4", "ps").err.startswith("unable to parse docker host `tcp://1.2.3.4`\nhint: ")


@pytest.mark.parametrize("end", [b"", b"2f\r\n{"])
def test_an_engine_that_is_killed_in_its_answer(end: bytes) -> None:
    """`push`, `load` and the like showed a traceback, and asked to report a bug."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n' + end)
        theirs.shutdown(socket.SHUT_WR)
        lines = Engine(lambda: ours).lines("POST", "/x")
        with pytest.raises(PeerMisbehaved, match=r"^the engine's answer can't be read: the answer ended too early$"):
            list(lines)


def test_malformed_json_where_nobody_has_imported_json() -> None:
    """CPython's scanner can't raise its own error then, and says so by a SystemError."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); from hostvm.client.jsontext import loads; loads('{broken')"
    argv = [sys.executable, "-I", "-c", code, str(Path(__file__).parents[3])]
    said = subprocess.run(argv, capture_output=True, text=True).stderr.splitlines()[-1]
    assert said.startswith("json.decoder.JSONDecodeError: Expecting property name")
