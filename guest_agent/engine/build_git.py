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

#: Seconds for one command of git; a repository is fetched without its history.
_DEADLINE = 600.0
_PIECE = 256 << 10


async def fetch_repository(remote: str, folder: str) -> AsyncGenerator[bytes, None]:
    """The tar of a tree without `.git`: `URL#REFERENCE:FOLDER`. `folder` is where the work is done.

    Closing the iterator kills what runs. Raises InvalidArgument, Unavailable (the deadline), Unsupported (no git).
    """
    url, _, fragment = remote.partition("#")
    reference, _, inner = fragment.partition(":")
    url = f"https://{url}" if url.startswith("github.com/") else url
    place = tempfile.mkdtemp(dir=folder, prefix="git-")
    try:
        await _git(place, "init", "--quiet", ".")
        await _git(place, "fetch", "--quiet", "--depth=1", "--", url, reference or "HEAD")
        await _git(place, "checkout", "--quiet", "FETCH_HEAD")
        async with aclosing(_pack(_inside(place, inner))) as pieces:
            async for piece in pieces:
                yield piece
    finally:
        await asyncio.to_thread(remove_tree, place)


def _inside(place: str, inner: str) -> str:
    """The folder of the repository, which no name and no link leads out of."""
    found = os.path.realpath(os.path.join(place, inner.strip("/")))
    if not f"{found}/".startswith(f"{os.path.realpath(place)}/"):
        raise InvalidArgument(f'error setting git context, "{inner}" not within git root')
    if not os.path.isdir(found):
        raise InvalidArgument(f"error setting context, not a directory: {inner}")
    return found


async def _git(place: str, *words: str) -> None:
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
    if process.returncode:
        reason = complaint.decode(errors="replace").strip() or process.returncode
        raise InvalidArgument(f"failed to fetch the repository: {reason}")


async def _pack(place: str) -> AsyncGenerator[bytes, None]:
    argv = ("tar", "--create", "--exclude=./.git", ".")
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
