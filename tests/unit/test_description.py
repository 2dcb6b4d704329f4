"""The check of exchanges against Docker's description finds what it is there to find."""

from __future__ import annotations

import json

import pytest

from tests.description.checking import Exchange, deviations
from tests.description.transcript import read_exchanges


def answer(target: str, status: int, body: object, method: str = "GET") -> list[str]:
    return deviations(Exchange(method, target, status, "application/json", json.dumps(body).encode()))


VOLUME = {"Name": "v", "Driver": "local", "Mountpoint": "/m", "Labels": None, "Scope": "local", "Options": None}


@pytest.mark.parametrize("target", ["/volumes/v", "/v1.44/volumes/v?x=1"])
def test_what_is_as_described(target: str) -> None:
    assert answer(target, 200, VOLUME) == []


@pytest.mark.parametrize(
    ("target", "status", "body", "told"),
    [
        ("/volumes/v", 302, VOLUME, "status isn't described"),
        ("/volumes/v", 200, {**VOLUME, "Driver": 1}, "$.Driver: 1 is not of type 'string'"),
        ("/volumes/v", 200, {**VOLUME, "Scope": "galactic"}, "$.Scope: 'galactic' is not one of"),
        ("/volumes/v", 200, {**VOLUME, "Mountpiont": ""}, "'Mountpiont' was unexpected"),
        ("/volumes/v", 200, {"Name": "v"}, "'Driver' is a required property"),
        ("/volumes/v", 404, {"error": "no"}, "'message' is a required property"),
        ("/containers/a/json", 200, {"HostConfig": {"Memroy": 1}}, "'Memroy' was unexpected"),
    ],
)
def test_what_is_not(target: str, status: int, body: object, told: str) -> None:
    assert any(told in line for line in answer(target, status, body)), answer(target, status, body)


def test_a_misspelt_key_counts_for_the_newest_version_only() -> None:
    assert answer("/v1.41/volumes/v", 200, {**VOLUME, "More": 1}) == []


def test_every_line_of_a_stream() -> None:
    body = b'{"Type": "container"}\n{"from": 5}\n'
    assert len(deviations(Exchange("GET", "/events", 200, "application/json", body))) == 1


def test_a_name_with_slashes_and_a_page_of_ours() -> None:
    assert "ErrorResponse" not in str(answer("/images/host:5000/a/b/json", 404, {"message": "No such image"}))
    assert answer("/hostvm/anything", 299, {}) == []


def test_a_transcript() -> None:
    """Two exchanges on one connection, the first answer in chunks; then one that is cut off."""
    asked = b"".join(
        b"%s HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\n\r\n{}" % head
        for head in (b"POST /a?x=1", b"HEAD /b", b"GET /c")
    )
    answered = (
        b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf"
    )
    first, second = read_exchanges(asked, answered)
    assert first == Exchange("POST", "/a?x=1", 201, "application/json", b"abcde")
    assert (second.method, second.target, second.body) == ("HEAD", "/b", b"")


def test_a_hijacked_connection_is_no_exchange() -> None:
    asked = b"POST /containers/a/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nraw"
    answered = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nraw"
    assert list(read_exchanges(asked, answered)) == []
