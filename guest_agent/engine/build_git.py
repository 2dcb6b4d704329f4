"""A git repository as a build's context. Needs git and tar on the engine's machine."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress

from guest_agent.store.files import remove_tree
from guest_agent.wire.errors import InvalidArgument, Unavailable, Unsupported
from guest_agent.wire.git_sources import checkout, split_git_source

#: Seconds for one command of git; a repository is fetched without its history.
_DEADLINE = 600.0
_PIECE = 256 << 10


async def fetch_repository(remote: str, folder: str, keep_git: bool = False) -> AsyncGenerator[bytes, None]:
    """The tar of `URL#REFERENCE:FOLDER`, submodules included; `.git` where it is to be kept.

    `folder` is where the work is done. Closing the iterator kills what runs. Raises InvalidArgument, Unavailable (the
    deadline), Unsupported (no git).
    """
    url, reference, inner = split_git_source(remote)
    place = tempfile.mkdtemp(dir=folder, prefix="git-")
    os.chmod(place, 0o755)  # which becomes the mode of what it is copied to
    try:
        await _check_out(place, url, reference)
        async with aclosing(_pack(_inside(place, inner), keep_git)) as pieces:
            async for piece in pieces:
                yield piece
    finally:
        await asyncio.to_thread(remove_tree, place)


async def _check_out(place: str, url: str, reference: str) -> None:
    steps = checkout(url, reference)
    words = next(steps)
    try:
        while True:
            words = steps.send(await _git(place, *words))
    except StopIteration as end:
        if end.value:
            raise InvalidArgument(f"failed to fetch the repository: {end.value}") from None


def _inside(place: str, inner: str) -> str:
    """The folder of the repository, which no name and no link leads out of."""
    found = os.path.realpath(os.path.join(place, inner))
    if not f"{found}/".startswith(f"{os.path.realpath(place)}/"):
        raise InvalidArgument(f'error setting git context, "{inner}" not within git root')
    if not os.path.isdir(found):
        raise InvalidArgument(f"error setting context, not a directory: {inner}")
    return found


async def _git(place: str, *words: str) -> str | None:
    """What it complained of; None where it succeeded."""
    try:
        async with _running(place, "git", *words, output=DEVNULL, complaints=PIPE) as process:
            async with asyncio.timeout(_DEADLINE):
                _, complaint = await process.communicate()
    except FileNotFoundError:
        raise Unsupported(
            "git isn't installed where the engine runs", "clone the repository, and build its folder"
        ) from None
    except TimeoutError:
        raise Unavailable(f"failed to fetch the repository: git {words[0]} took too long") from None
    return (complaint.decode(errors="replace").strip() or f"git {words[0]} failed") if process.returncode else None


async def _pack(place: str, keep_git: bool) -> AsyncGenerator[bytes, None]:
    argv = ("tar", "--create", *(() if keep_git else ("--exclude=./.git",)), ".")
    async with _running(place, *argv, output=PIPE, complaints=DEVNULL) as process:
        assert process.stdout is not None
        while data := await process.stdout.read(_PIECE):
            yield data
        if await process.wait():
            raise InvalidArgument("the repository's files can't be read")


@asynccontextmanager
async def _running(place: str, *argv: str, output: int, complaints: int) -> AsyncGenerator[Process, None]:
    """A command in a process group of its own, which is killed as a whole: git works by helpers."""
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    process = await asyncio.create_subprocess_exec(
        *argv, cwd=place, env=environment, stdin=DEVNULL, stdout=output, stderr=complaints, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
