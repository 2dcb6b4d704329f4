"""A git repository as a tar of its files: fetched where this runs, which needs git and tar.

For the engine on its own host, and for the host of a machine whose engine has no git (`host_repositories`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

from guest_agent.wire.errors import InvalidArgument, Unavailable, Unsupported
from guest_agent.wire.git_sources import checkout, split_git_source

#: Seconds for one command of git; a repository is fetched without its history.
_DEADLINE = 600.0
_PIECE = 256 << 10
#: What git, or its ssh, says where a server wants to know who is there -> what to do then.
_HINTS = {
    "terminal prompts disabled": "is it private? Give a token by --secret id=GIT_AUTH_TOKEN,src=FILE",
    "Permission denied (publickey": "by ssh the engine's own keys count, not yours: clone it, and build its folder",
    "Host key verification failed": "by ssh the engine's own keys count, not yours: clone it, and build its folder",
}


async def fetch_repository(
    remote: str,
    folder: str,
    keep_git: bool = False,
    *,
    authorization: str = "",
    environment: Mapping[str, str] | None = None,
) -> AsyncGenerator[bytes, None]:
    """The tar of `URL#REFERENCE:FOLDER`, submodules included; `.git` where it is to be kept.

    `folder` is where the work is done; `authorization` is the value of that header for the URL's host; `environment` is
    git's, by default this process's. Closing the iterator kills what runs. Raises InvalidArgument, Unavailable (the
    deadline), Unsupported (no git).
    """
    url, reference, inner = split_git_source(remote)
    place = tempfile.mkdtemp(dir=folder, prefix="git-")
    os.chmod(place, 0o755)  # which becomes the mode of what it is copied to
    commands = _Commands(
        place, {**(os.environ if environment is None else environment), **_settings(url, authorization)}
    )
    try:
        await commands.check_out(url, reference)
        async with aclosing(commands.pack(_inside(place, inner), keep_git)) as pieces:
            async for piece in pieces:
                yield piece
    finally:
        await asyncio.to_thread(remove_folder, place)


def remove_folder(path: str) -> None:
    """By a program that no depth of folders is too much for. A missing one is fine."""
    subprocess.run(["rm", "-rf", "--", path], check=False, stderr=subprocess.DEVNULL)


def _settings(url: str, authorization: str) -> dict[str, str]:
    """As variables: a command's arguments can be read by everybody. Another host doesn't get the header."""
    never_ask = {"GIT_TERMINAL_PROMPT": "0"}
    if not authorization:
        return never_ask
    scheme, _, rest = url.partition("://")
    scope = f"http.{scheme}://{rest.partition('/')[0]}/.extraHeader"
    header = f"Authorization: {authorization}"
    return never_ask | {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": scope, "GIT_CONFIG_VALUE_0": header}


def _inside(place: str, inner: str) -> str:
    """The folder of the repository, which no name and no link leads out of."""
    found = os.path.realpath(os.path.join(place, inner))
    if not f"{found}/".startswith(f"{os.path.realpath(place)}/"):
        raise InvalidArgument(f'error setting git context, "{inner}" not within git root')
    if not os.path.isdir(found):
        raise InvalidArgument(f"error setting context, not a directory: {inner}")
    return found


@dataclass(frozen=True, slots=True)
class _Commands:
    """What is run for one repository, which lies in `place`."""

    place: str
    environment: Mapping[str, str]

    async def check_out(self, url: str, reference: str) -> None:
        steps = checkout(url, reference)
        words = next(steps)
        try:
            while True:
                words = steps.send(await self._git(*words))
        except StopIteration as end:
            if end.value:
                hint = next((hint for said, hint in _HINTS.items() if said in end.value), "")
                raise InvalidArgument(f"failed to fetch the repository: {end.value}", hint) from None

    async def pack(self, folder: str, keep_git: bool) -> AsyncGenerator[bytes, None]:
        excluded = () if keep_git else ("--exclude=./.git",)
        # a BSD's tar would write to a tape, and Apple's would add files of its own
        self_contained = {**self.environment, "COPYFILE_DISABLE": "1"}
        async with _running(folder, self_contained, "tar", "-c", "-f", "-", *excluded, ".") as process:
            assert process.stdout is not None
            while data := await process.stdout.read(_PIECE):
                yield data
            if await process.wait():
                raise InvalidArgument("the repository's files can't be read")

    async def _git(self, *words: str) -> str | None:
        """What it complained of; None where it succeeded."""
        try:
            async with _running(self.place, self.environment, "git", *words) as process:
                async with asyncio.timeout(_DEADLINE):
                    _, complaint = await process.communicate()
        except FileNotFoundError:
            hint = "install it, or clone the repository and build its folder"
            raise Unsupported("git isn't installed where repositories are fetched", hint) from None
        except TimeoutError:
            raise Unavailable(f"failed to fetch the repository: git {words[0]} took too long") from None
        return (complaint.decode(errors="replace").strip() or f"git {words[0]} failed") if process.returncode else None


@asynccontextmanager
async def _running(folder: str, environment: Mapping[str, str], *argv: str) -> AsyncGenerator[Process, None]:
    """A command in a process group of its own, which is killed as a whole: git works by helpers."""
    process = await asyncio.create_subprocess_exec(
        *argv, cwd=folder, env=environment, umask=0o022, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
