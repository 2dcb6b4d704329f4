"""A client tied to a process: output at its own pace, input until it leaves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from guest_agent.engine.attachment import Attachment, LogSource
from guest_agent.engine.live import Run
from guest_agent.engine.output import STDERR, STDOUT, OutputLog
from guest_agent.engine.requests import AttachRequest
from guest_agent.engine.stdio import Stdio

BOTH = {STDOUT, STDERR}


class Stage:
    """A run whose input the test reads, and whose output the test writes."""

    def __init__(self, folder: Path, tty: bool = False) -> None:
        self.log = OutputLog(str(folder))
        self.run = Run(self.log)
        self.reader, writer = os.pipe()
        os.set_blocking(writer, False)
        self.run.stdio = Stdio(stdin=writer)
        self.run.started.set()
        self.tty = tty
        self.released = 0
        self.told_detached = 0

    def attach(self, from_start: bool = False, follow: bool = True) -> Attachment:
        source = LogSource(self.log, self.run, from_start, BOTH, follow)
        request = AttachRequest(True, True, True)
        return Attachment(source, self.run, request, self.tty, True, self._release, self._detached)

    def _release(self) -> None:
        self.released += 1

    def _detached(self) -> None:
        self.told_detached += 1

    def close(self) -> None:
        self.run.close()
        os.close(self.reader)


Play = Callable[[Callable[[Stage], Awaitable[None]], bool], None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    def run(scenario: Callable[[Stage], Awaitable[None]], tty: bool) -> None:
        async def main() -> None:
            stage = Stage(tmp_path, tty)
            async with asyncio.timeout(20):
                await scenario(stage)
            stage.close()

        asyncio.run(main())

    return run


def test_a_stalled_reader_gets_everything_later(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        attachment = stage.attach()
        for number in range(500):
            stage.log.append(b"%d\n" % number, STDOUT if number < 400 else STDERR)
        stage.run.end_output()
        pieces = [piece async for piece in reading(attachment)]
        said = [b"".join(data for of, data in pieces if of == stream) for stream in (STDOUT, STDERR)]
        assert b"".join(said) == b"".join(b"%d\n" % number for number in range(500))
        assert said[1].startswith(b"400\n")

    play(scenario, False)


async def reading(attachment: Attachment) -> AsyncIterator[tuple[int, bytes]]:
    while (piece := await attachment.read()) is not None:
        yield piece


def test_from_now_on_or_from_the_beginning(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        stage.log.append(b"old", STDOUT)
        late, early, past = stage.attach(), stage.attach(from_start=True), stage.attach(from_start=True, follow=False)
        stage.log.append(b"new", STDERR)
        assert await late.read() == (STDERR, b"new")
        assert await early.read() == (STDOUT, b"old")
        assert await past.read() == (STDOUT, b"old")
        assert await past.read() is None

    play(scenario, False)


def test_the_detach_keys_let_the_process_go_on(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        attachment = stage.attach()
        waiting = asyncio.ensure_future(attachment.read())
        await attachment.write(b"typed\x10")
        await attachment.write(b"\x11not any more")
        assert await waiting is None and attachment.detached
        await attachment.write(b"lost")
        assert os.read(stage.reader, 100) == b"typed"
        attachment.close()
        assert stage.run.stdio.stdin >= 0 and stage.released == 0

    play(scenario, True)


def test_the_end_of_the_input_is_an_end_of_file(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        attachment = stage.attach()
        await attachment.write(b"all of it")
        await attachment.close_stdin()
        assert (os.read(stage.reader, 100), os.read(stage.reader, 100)) == (b"all of it", b"")
        assert stage.released == 1

    play(scenario, False)


def test_a_client_that_outlives_the_run_leaves_nothing_with_the_keeper(play: Play) -> None:
    """To release is to hold the rest again: after the run it would be a key that nobody drops."""

    async def scenario(stage: Stage) -> None:
        attachment = stage.attach()
        stage.run.close()
        attachment.close()
        assert stage.released == 0 and not stage.log._listeners

    play(scenario, False)
