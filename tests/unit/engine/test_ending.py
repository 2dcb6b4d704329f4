"""The end of a container's process: what it printed, and what is waited for."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from guest_agent.engine import ending
from guest_agent.engine.live import Run
from guest_agent.engine.output import OutputLog, Position
from guest_agent.engine.stdio import Stdio


def printed(folder: Path, data: bytes) -> bytes:
    """What is in the log at the end of a process that has printed this, and whose pipe a stranger holds open.

    The engine had no time for it meanwhile: all of its patience is over when it comes to look.
    """

    async def scenario() -> bytes:
        log = OutputLog(str(folder))
        run = Run(log)
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.write(writer, data)
        run.begin(Stdio(stdout=reader))
        draining = asyncio.ensure_future(ending._drain_output(run))
        await asyncio.sleep(0)
        time.sleep(0.05)  # noqa: ASYNC251
        await draining
        os.close(writer)
        run.close()
        return b"".join(log.read(chunk) for chunk in log.chunks(Position(0, 0, 0), 100))

    return asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_busy_engine_loses_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under load `logs` was empty behind a `wait`: two seconds had gone by, and the pipe was thrown away unread."""
    monkeypatch.setattr(ending, "_OUTPUT_GRACE", 0.02)
    monkeypatch.setattr(ending, "_MOST_GRACES", 500)
    assert printed(tmp_path, b"all of it\n") == b"all of it\n"
