"""To whom plain HTTP is allowed."""

from __future__ import annotations

import socket

import pytest

from guest_agent.images.insecure import is_insecure
from guest_agent.images.registry import parse_retry_after

KNOWN = {"here.test": "127.0.0.1", "six.test": "fe80::1%eth0", "near.test": "10.1.2.3", "far.test": "192.0.2.1"}


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(host: str, port: None, type: int) -> list[tuple[object, ...]]:
        assert not host.endswith("docker.io"), "it is never insecure, and its name may take long"
        if host not in KNOWN:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(0, 0, 0, "", (KNOWN[host], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.mark.parametrize(
    "netloc",
    ["localhost:5000", "127.9.9.9", "[::1]:5000", "registry.localhost", "named.test", "named.test:1", "only.test:5000"]
    + ["10.1.0.9:80", "near.test", "[2001:db8::9]"],
)
def test_to_these(netloc: str) -> None:
    assert is_insecure(netloc, ("named.test", "only.test:5000", "10.1.0.0/16", "2001:db8::/32"))


@pytest.mark.parametrize(
    "netloc",
    ["far.test", "six.test", "here.test:5000", "only.test:1", "unknown.test", "10.2.0.1", "registry-1.docker.io"],
)
def test_not_to_these(netloc: str) -> None:
    assert not is_insecure(netloc, ("only.test:5000", "10.1.0.0/16", "10.2.0.1/99", "http://far.test"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("", None),
        ("²", None),
    ],
)
def test_how_long_a_registry_wants_us_to_wait(text: str, seconds: float | None) -> None:
    assert parse_retry_after(text, 100.0) == seconds


def test_without_networks_nobody_is_asked_where_a_host_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "getaddrinfo")
    assert not is_insecure("far.test", ("named.test",))
