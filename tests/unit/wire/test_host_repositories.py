"""What a guest may ask of its host for a repository, and what counts as an answer."""

from __future__ import annotations

import json

import pytest

from guest_agent.wire.errors import HostvmError, InvalidArgument, NotFound, PeerMisbehaved, Unsupported
from guest_agent.wire.host_repositories import (
    LARGEST_PIECE,
    Wanted,
    check_answer,
    format_answer,
    format_piece,
    format_request,
    parse_header,
    parse_request,
)


def request(remote: str = "git://h/r", authorization: str = "") -> dict[str, object]:
    return {"to": "repository", "remote": remote, "keep_git": True, "authorization": authorization}


@pytest.mark.parametrize("remote", ["https://h/r.git#main:a", "http://h/r.git", "git://h/r", "github.com/o/r"])
def test_what_needs_no_key_is_fetched(remote: str) -> None:
    assert parse_request(request(remote, authorization="basic eA==")) == Wanted(remote, True, "basic eA==")


@pytest.mark.parametrize(
    "remote", ["git@h:r.git", "ssh://h/r.git", "file:///etc", "/etc", "ext::sh -c id", "--upload-pack=id", ""]
)
def test_the_hosts_files_keys_and_programs_are_not_for_the_guest(remote: str) -> None:
    with pytest.raises(Unsupported, match="http, https and git only"):
        parse_request(request(remote))


@pytest.mark.parametrize(
    "fields",
    [
        {"remote": 1},
        {"remote": None},
        {"remote": "http://h/\0"},
        {"keep_git": "yes"},
        {"authorization": ["x"]},
        {"authorization": "x\r\nHost: y"},
    ],
)
def test_what_is_no_request(fields: dict[str, object]) -> None:
    with pytest.raises(PeerMisbehaved):
        parse_request(request() | fields)


def test_a_request_fits_the_agents_line() -> None:
    assert len(format_request(Wanted("\x01" * 600))) < 4096
    assert parse_request(json.loads(format_request(Wanted("git://h/r")))) == Wanted("git://h/r")
    with pytest.raises(InvalidArgument):
        format_request(Wanted("http://h/" + "x" * 4096))


def test_an_error_crosses_as_it_was() -> None:
    check_answer(format_answer())
    with pytest.raises(NotFound) as raised:
        check_answer(format_answer(NotFound("no such", "look")))
    assert (raised.value.message, raised.value.hint) == ("no such", "look")


@pytest.mark.parametrize("line", [b"", b"x\n", b"[]\n", b"[" * 100_000])
def test_what_is_no_answer(line: bytes) -> None:
    with pytest.raises(PeerMisbehaved):
        check_answer(line)


@pytest.mark.parametrize("error", [b"1", b"{}", b'{"kind": []}'])
def test_an_odd_error_is_an_error(error: bytes) -> None:
    with pytest.raises(HostvmError):
        check_answer(b'{"error": ' + error + b"}\n")


def test_pieces() -> None:
    assert parse_header(format_piece(b"abc")[:4]) == 3
    assert parse_header(format_piece(b"")) == 0
    with pytest.raises(PeerMisbehaved):
        parse_header((LARGEST_PIECE + 1).to_bytes(4, "big"))
