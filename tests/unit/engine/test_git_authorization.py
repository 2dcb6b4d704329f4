"""Which of a build's secrets opens a repository."""

from __future__ import annotations

import asyncio

import pytest

from guest_agent.engine.git_authorization import find_authorization
from guest_agent.wire.errors import InvalidArgument


def found(remote: str, **secrets: bytes) -> str:
    async def ask(name: str) -> bytes | None:
        return secrets.get(name.replace(".", "_at_").replace(":", "_"))

    return asyncio.run(find_authorization(remote, ask))


BASIC = "Basic eC1hY2Nlc3MtdG9rZW46dA=="  # x-access-token:t


@pytest.mark.parametrize("remote", ["https://h/r.git", "http://user@h/r.git#main", "https://h/"])
def test_a_token_is_a_password(remote: str) -> None:
    assert found(remote, GIT_AUTH_TOKEN=b"t\n") == BASIC


def test_the_hosts_own_secret_goes_first_and_a_header_before_a_token() -> None:
    secrets = {"GIT_AUTH_TOKEN": b"t", "GIT_AUTH_TOKEN_at_other": b"o", "GIT_AUTH_HEADER_at_h_81": b"bearer b"}
    assert found("https://h/r.git", **secrets) == BASIC
    assert found("https://h:81/r.git", **secrets) == "bearer b"
    assert found("https://other/r.git", GIT_AUTH_TOKEN=b"o", GIT_AUTH_TOKEN_at_other=b"t") == BASIC


@pytest.mark.parametrize("remote", ["git://h/r", "git@h:r.git", "ssh://h/r", "/r"])
def test_only_web_servers_take_a_header(remote: str) -> None:
    assert found(remote, GIT_AUTH_TOKEN=b"t") == ""


@pytest.mark.parametrize("header", [b"x\r\nHost: y", b"\xff", "\u00fc".encode()])
def test_what_is_no_header(header: bytes) -> None:
    with pytest.raises(InvalidArgument, match="GIT_AUTH_HEADER"):
        found("https://h/r.git", GIT_AUTH_HEADER=header)
