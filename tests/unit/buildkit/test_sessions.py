"""A client that answers with what is none of the protocol's messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from guest_agent.build.trees import empty_tree
from guest_agent.buildkit.sessions import ClientSession
from guest_agent.rpc.peer import Call
from guest_agent.wire.errors import PeerMisbehaved
from tests.unit.buildkit.pretended import connected

_PATHS = (
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.filesync.v1.FileSend/DiffCopy",
    "/moby.upload.v1.Upload/Pull",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/moby.sshforward.v1.SSH/ForwardAgent",
    "/moby.filesync.v1.Auth/Credentials",
)


async def _all(pieces: AsyncIterator[bytes]) -> None:
    async for _piece in pieces:
        pass


async def _hear(session: ClientSession) -> None:
    async with session.agent("default") as call:
        await session.heard(call)


async def _answer(call: Call) -> None:
    await call.send(b"\xff")


@pytest.mark.parametrize(
    "ask",
    [
        lambda session: _all(session.folder("context")),
        lambda session: session.send_folder(empty_tree(), 0),
        lambda session: _all(session.upload("/x")),
        lambda session: session.secret("word"),
        lambda session: session.credentials_of("docker.io"),
        _hear,
    ],
)
def test_an_answer_that_makes_no_sense(ask: Callable[[ClientSession], Awaitable[object]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), connected({}, dict.fromkeys(_PATHS, _answer)) as (peer, _client):
            with pytest.raises(PeerMisbehaved, match="makes no sense"):
                await ask(ClientSession(peer))

    asyncio.run(run())
