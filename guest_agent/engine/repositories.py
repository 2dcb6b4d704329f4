"""Git repositories for builds: fetched by git here, or by the host of the machine that the engine runs in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from guest_agent.wire.errors import Unavailable
from guest_agent.wire.git_repository import fetch_repository
from guest_agent.wire.host_repositories import HEADER_SIZE, Wanted, check_answer, format_request, parse_header


@dataclass(frozen=True, slots=True)
class Repositories:
    """`channel` is the agent's socket, "" on the host itself; `folder` is for what is half-done."""

    channel: str
    folder: str

    async def fetch(self, remote: str, keep_git: bool = False, authorization: str = "") -> AsyncGenerator[bytes, None]:
        """The tar of `URL#REFERENCE:FOLDER`, submodules included; `.git` where it is to be kept.

        `authorization` is the value of that header, for the URL's host alone. Closing the iterator ends what runs for
        it. Raises InvalidArgument, Unavailable, Unsupported.
        """
        if self.channel:
            source = _ask(self.channel, Wanted(remote, keep_git, authorization))
        else:
            source = fetch_repository(remote, self.folder, keep_git, authorization=authorization)
        async with aclosing(source) as pieces:
            async for piece in pieces:
                yield piece


async def _ask(channel: str, wanted: Wanted) -> AsyncGenerator[bytes, None]:
    request = format_request(wanted)
    try:
        reader, writer = await asyncio.open_unix_connection(channel)
    except OSError as error:
        raise Unavailable(f"the machine's host can't be asked for the repository: {error.strerror}") from None
    try:
        writer.write(request)
        check_answer(await reader.readuntil(b"\n"))
        while length := parse_header(await reader.readexactly(HEADER_SIZE)):
            yield await reader.readexactly(length)
    except (OSError, asyncio.IncompleteReadError):
        raise Unavailable("the machine's host was gone before it had sent the whole repository") from None
    finally:
        writer.close()
