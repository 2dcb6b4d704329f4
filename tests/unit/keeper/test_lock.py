"""One engine for a run directory; one that is ending is waited for."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from pathlib import Path

import pytest

from guest_agent.serve import take_lock
from guest_agent.store.paths import EnginePaths
from guest_agent.wire.errors import Conflict


@pytest.fixture
def paths(tmp_path: Path) -> EnginePaths:
    return EnginePaths(os.fspath(tmp_path / "data"), os.fspath(tmp_path))


def test_an_engine_that_answers_refuses_another(paths: EnginePaths) -> None:
    lock = take_lock(paths)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(paths.socket)
        listener.listen()
        with pytest.raises(Conflict, match="running already"):
            take_lock(paths)
    os.close(lock)


def test_one_that_is_ending_is_waited_for(paths: EnginePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    ending, asked = take_lock(paths), threading.Event()
    lock = fcntl.flock

    def watched(fd: int, operation: int) -> None:
        try:
            lock(fd, operation)
        except BlockingIOError:
            asked.set()
            raise

    monkeypatch.setattr(fcntl, "flock", watched)
    taken: list[int] = []
    starting = threading.Thread(target=lambda: taken.append(take_lock(paths)))
    starting.start()
    assert asked.wait(10) and not taken
    os.close(ending)
    starting.join(10)
    assert len(taken) == 1
    os.close(taken[0])
