"""A repository by way of the machine's host: the engine's end and the supervisor's, with a socket for the channel."""

from __future__ import annotations

import asyncio
import io
import json
import os
import tarfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from guest_agent.engine.repositories import Repositories
from guest_agent.wire.errors import HostvmError, InvalidArgument, Unavailable, Unsupported
from guest_agent.wire.host_repositories import Wanted, format_answer, format_piece, format_request
from hostvm.supervisor.repositories import RepositoryService, plan_environment
from tests.behaviour.images.git_server import GitServer
from tests.unit.endless_git import started as started

Serve = Callable[["SocketStream"], Awaitable[None]]


class SocketStream:
    """What the service asks of a stream of the channel, over a socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.write = writer.write
        self.drain = writer.drain

    async def read(self) -> bytes:
        return await self._reader.read(4096)


class Host:
    """Listens where the engine takes the agent to be."""

    def __init__(self, folder: Path) -> None:
        self.socket = str(folder / "host.sock")
        self.folder = folder / "repositories"
        self.ended = asyncio.Event()

    async def serve(self, handle: Serve) -> asyncio.Server:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            await handle(SocketStream(reader, writer))
            writer.close()
            self.ended.set()

        return await asyncio.start_unix_server(connected, self.socket)

    async def fetch(self, remote: str, keep_git: bool = False) -> bytes:
        async with aclosing(Repositories(self.socket, "/nowhere").fetch(remote, keep_git)) as pieces:
            return b"".join([piece async for piece in pieces])


def service_for(host: Host, remote: str, keep_git: bool = False) -> Serve:
    service = RepositoryService(str(host.folder))
    request = json.loads(format_request(Wanted(remote, keep_git)))
    return lambda stream: service.handle(request, stream)


async def through(folder: Path, remote: str, keep_git: bool = False) -> bytes:
    host = Host(folder)
    async with await host.serve(service_for(host, remote, keep_git)):
        return await host.fetch(remote, keep_git)


@pytest.fixture
def repositories(tmp_path: Path) -> Iterator[GitServer]:
    with GitServer(tmp_path / "served") as server:
        yield server


def names(data: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return set(archive.getnames())


def test_the_host_sends_what_its_git_finds(repositories: GitServer, tmp_path: Path) -> None:
    whole = asyncio.run(through(tmp_path, f"{repositories.url}/app.git"))
    assert {"./new", "./sub/part", "./inner/deep"} <= names(whole) and "./.git" not in names(whole)
    kept = asyncio.run(through(tmp_path, f"{repositories.url}/app.git#v1", keep_git=True))
    assert "./.git/HEAD" in names(kept) and "./new" not in names(kept)
    assert not (tmp_path / "repositories").exists()


def test_the_users_configuration_does_not_count(
    repositories: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which may name his programs and his credentials, and lead a URL elsewhere."""
    elsewhere = f'[url "git://127.0.0.1:1/"]\n\tinsteadOf = {repositories.url}/\n'
    (tmp_path / ".gitconfig").write_text(elsewhere)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / ".gitconfig"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    assert "./old" in names(asyncio.run(through(tmp_path, f"{repositories.url}/app.git#v1")))
    environment = plan_environment({"PATH": "/bin", "GIT_ASKPASS": "ask", "SSH_AUTH_SOCK": "agent"}, "/home")
    assert environment["PATH"] == "/bin" and not {"GIT_ASKPASS", "SSH_AUTH_SOCK"} & set(environment)


def test_a_refusal_crosses(repositories: GitServer, tmp_path: Path) -> None:
    refused: dict[str, tuple[type[HostvmError], str]] = {
        f"{repositories.url}/app.git#nope": (InvalidArgument, "couldn't find remote ref nope"),
        f"{repositories.url}/app.git#main:nope": (InvalidArgument, "not a directory: nope"),
        f"file://{repositories.bare}/app.git": (Unsupported, "http, https and git only"),
    }
    for remote, (kind, message) in refused.items():
        with pytest.raises(kind, match=message):
            asyncio.run(through(tmp_path, remote))
    assert not (tmp_path / "repositories").exists()


def test_a_submodule_of_the_hosts_files_is_refused(repositories: GitServer, tmp_path: Path) -> None:
    repositories.lead_submodule_to(f"file://{repositories.bare}/inner.git")
    with pytest.raises(InvalidArgument, match="transport 'file' not allowed"):
        asyncio.run(through(tmp_path, f"{repositories.url}/app.git"))


async def gone(stream: SocketStream) -> None:
    stream.write(format_answer() + format_piece(b"x" * 512))


async def silent(stream: SocketStream) -> None:
    pass


@pytest.mark.parametrize("host_ends", [gone, silent])
def test_a_host_that_ends_in_the_middle(tmp_path: Path, host_ends: Serve) -> None:
    async def ask() -> None:
        host = Host(tmp_path)
        async with await host.serve(host_ends):
            await host.fetch("git://h/r")

    with pytest.raises(Unavailable, match="gone before it had sent"):
        asyncio.run(ask())


def test_no_agent_at_all(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="can't be asked"):
        asyncio.run(Host(tmp_path).fetch("git://h/r"))


def test_git_ends_when_the_guest_no_longer_waits(started: Path, tmp_path: Path) -> None:
    async def cancel() -> int:
        host = Host(tmp_path)
        async with await host.serve(service_for(host, "git://h/r")):
            fetching = asyncio.create_task(host.fetch("git://h/r"))
            pid = int(await asyncio.to_thread(started.read_text))
            fetching.cancel()
            await asyncio.wait([fetching])
            await host.ended.wait()
        return pid

    pid = asyncio.run(cancel())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not (tmp_path / "repositories").exists()


def test_a_guest_that_asks_for_too_many(started: Path, tmp_path: Path) -> None:
    async def ask() -> str:
        host = Host(tmp_path)
        async with await host.serve(service_for(host, "git://h/r")):
            many = [asyncio.create_task(host.fetch("git://h/r")) for _ in range(9)]
            done, _ = await asyncio.wait(many, return_when=asyncio.FIRST_COMPLETED)
            for one in many:
                one.cancel()
            await asyncio.wait(many)
            return str(done.pop().exception())

    assert asyncio.run(ask()) == "8 repositories are being fetched already"
