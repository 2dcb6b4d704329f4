"""Git repositories that the machine's engine asks for (guest_agent/wire/host_repositories.py).

Theory of operation. git runs here, since the guest has none: what listens on this host's loopback and this host's
proxies count as they do for the user. The guest isn't trusted, and must not gain by it: git sees neither the user's
configuration nor his credentials, speaks only protocols that need none, and asks nobody.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping
from contextlib import aclosing, suppress
from typing import Protocol

from guest_agent.wire.errors import HostvmError, Unavailable
from guest_agent.wire.git_repository import fetch_repository, remove_folder
from guest_agent.wire.host_repositories import (
    PROTOCOLS,
    Wanted,
    format_answer,
    format_piece,
    parse_request,
)

#: Repositories at a time: each is a git and a folder on this host's disk.
_MOST_AT_ONCE = 8
#: Of the supervisor's environment; git has no other variables of the user.
_KEPT = ("PATH", "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


class Stream(Protocol):
    """What is used of a stream of the channel."""

    async def read(self) -> bytes:
        """b"" when the guest has ended it."""

    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...


class RepositoryService:
    """`folder` is for what is half-done; what a supervisor that was killed has left there goes first."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._running = 0
        remove_folder(folder)

    async def handle(self, request: dict[str, object], stream: Stream) -> None:
        """A stream that the guest has opened; returns at its end."""
        try:
            wanted = parse_request(request)
            if self._running >= _MOST_AT_ONCE:
                raise Unavailable(f"{_MOST_AT_ONCE} repositories are being fetched already")
        except HostvmError as error:
            stream.write(format_answer(error))
            return
        self._running += 1
        try:
            await _while_wanted(stream, self._send(wanted, stream))
        finally:
            self._running -= 1
            with suppress(OSError):  # others are being fetched
                os.rmdir(self._folder)

    async def _send(self, wanted: Wanted, stream: Stream) -> None:
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        fetching = fetch_repository(
            wanted.remote,
            self._folder,
            wanted.keep_git,
            authorization=wanted.authorization,
            environment=plan_environment(os.environ, self._folder),
        )
        async with aclosing(fetching) as pieces:
            try:
                first = await anext(pieces)
            except HostvmError as error:
                stream.write(format_answer(error))
                return
            stream.write(format_answer() + format_piece(first))
            async for piece in pieces:
                stream.write(format_piece(piece))
                await stream.drain()
            stream.write(format_piece(b""))


def plan_environment(environ: Mapping[str, str], home: str) -> dict[str, str]:
    """git's: this host's way to the network, and nothing of its user. `home` is a folder without files of git's."""
    return {
        **{name: environ[name] for name in _KEPT if name in environ},
        "HOME": home,
        "LANG": "en_US.UTF-8",  # names of files in any script, and messages that are looked into
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ALLOW_PROTOCOL": ":".join(PROTOCOLS),
    }


async def _while_wanted(stream: Stream, sending: Coroutine[object, object, None]) -> None:
    """Ends it when the guest has nothing more to say: then nobody waits for the repository."""
    work, watch = asyncio.ensure_future(sending), asyncio.ensure_future(stream.read())
    try:
        await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
    finally:
        work.cancel()
        watch.cancel()
        outcome, _ = await asyncio.gather(work, watch, return_exceptions=True)
    if isinstance(outcome, Exception):
        raise outcome
