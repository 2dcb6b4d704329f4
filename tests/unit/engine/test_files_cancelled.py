"""A `docker cp` whose client goes away while the helper is stuck: neither a thread nor the helper stays."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import ParamSpec, TypeVar

import pytest

from guest_agent.engine.files import _pieces, _read_stat, _write
from guest_agent.layers import copying
from guest_agent.layers.copying import PathSource, PathTarget
from guest_agent.layers.view import View

P = ParamSpec("P")
T = TypeVar("T")
VIEW = View("/", (), read_only=True)


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The helpers that were started; they read nothing and say nothing."""
    started = list[subprocess.Popen[bytes]]()

    def spawn(_module: str, _arguments: object, stdin: int) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(["sleep", "3600"], stdin=stdin, stdout=pipe, stderr=pipe, bufsize=0))
        return started[-1]

    monkeypatch.setattr(copying, "spawn", spawn)
    return started


def announcing(begun: threading.Event, work: Callable[P, T]) -> Callable[P, T]:
    def announced(*args: P.args, **kwargs: P.kwargs) -> T:
        begun.set()
        return work(*args, **kwargs)

    return announced


async def cancel(caller: Awaitable[object], begun: threading.Event, helper: subprocess.Popen[bytes]) -> None:
    """In the middle of a step, which must have ended when the caller has."""
    task = asyncio.ensure_future(caller)
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert helper.wait(timeout=30) < 0


def test_a_description(stuck: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()
    monkeypatch.setattr(PathSource, "stat", announcing(begun, PathSource.stat))
    source = PathSource(VIEW, "/etc", only_stat=True)
    asyncio.run(cancel(_read_stat(source, "box"), begun, stuck[0]))
    source.close()


def test_on_the_way_out(stuck: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()
    monkeypatch.setattr(PathSource, "pieces", announcing(begun, PathSource.pieces))

    async def scenario() -> None:
        source = PathSource(VIEW, "/etc", only_stat=False)
        stack = contextlib.AsyncExitStack()
        stack.callback(source.close)
        await cancel(anext(_pieces(source, stack)), begun, stuck[0])

    asyncio.run(scenario())


@pytest.mark.parametrize("step", ["write", "finish"])
def test_on_the_way_in(step: str, stuck: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()
    monkeypatch.setattr(PathTarget, step, announcing(begun, getattr(PathTarget, step)))

    async def chunks() -> AsyncIterator[bytes]:
        yield bytes(1 << 21 if step == "write" else 1)  # more than a pipe holds

    target = PathTarget(VIEW, "/tmp", keep_kinds=False, owner=None)
    asyncio.run(cancel(_write(target, chunks()), begun, stuck[0]))
    target.close()
