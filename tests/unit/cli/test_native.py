"""Starting the engine: once, also when two command lines come at the same time; and what is said when it fails."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from guest_agent.wire.errors import Conflict, Forbidden, InvalidArgument, Unavailable
from hostvm.machines import native
from hostvm.machines.connect import connect
from hostvm.settings import Settings, read_settings

#: Counts its starts, listens, says so, and goes when its listener has been asked for long enough.
STAND_IN = """
import os, socket, sys, time
run, ready, answer = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with open(f"{run}/starts", "a") as file:
    file.write("x")
if answer == "ready":
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{run}/engine.sock")
    listener.listen()
if answer == "crash":
    raise RuntimeError("no luck")
os.write(ready, answer.encode() + b"\\n")
os.close(ready)
if answer == "ready":
    time.sleep(2)
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "run").mkdir()
    return Settings(data=str(tmp_path / "data"), run=str(tmp_path / "run"), config=str(tmp_path / "config"))


def stand_in(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    def command(settings: Settings, ready: int) -> list[str]:
        return [sys.executable, "-I", "-c", STAND_IN, settings.run, str(ready), answer]

    monkeypatch.setattr(native, "start_command", command)


def test_two_at_once_start_one_engine(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "ready")
    with ThreadPoolExecutor(4) as pool:
        for stream in pool.map(lambda _: connect(settings), range(4)):
            stream.close()
    assert Path(settings.run, "starts").read_text() == "x"


def test_the_engines_own_error_is_shown(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, '{"kind": "conflict", "message": "the database is newer", "hint": "upgrade"}')
    with pytest.raises(Conflict) as caught:
        connect(settings)
    assert (caught.value.message, caught.value.hint) == ("the database is newer", "upgrade")


def test_an_engine_that_crashes_shows_its_last_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "crash")
    with pytest.raises(Unavailable, match="could not be started: RuntimeError: no luck"):
        connect(settings)


def test_an_engine_that_hangs_is_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "START_DEADLINE", 0.2)
    monkeypatch.setattr(native, "start_command", lambda _settings, _ready: ["sleep", "30"])
    with pytest.raises(Unavailable, match="isn't ready after"):
        connect(settings)


def test_only_root_starts_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Forbidden) as caught:
        connect(settings)
    assert "sudo" in caught.value.hint


def test_somebody_elses_engine_is_never_started(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "ready")
    settings.host = f"unix://{settings.run}/engine.sock"
    with pytest.raises(Unavailable):
        connect(settings)
    assert not Path(settings.run, "starts").exists()


def test_settings_have_their_defaults() -> None:
    settings = read_settings({b"HOSTVM_RUN": b"/r"})
    assert (settings.socket, settings.data, settings.machine) == ("/r/engine.sock", "/var/lib/hostvm", "native")
    assert read_settings({b"HOSTVM_HOST": b"unix:///x.sock"}).socket == "/x.sock"


def test_a_socket_path_that_the_kernel_doesnt_take(settings: Settings) -> None:
    long = Settings(data=settings.data, run="/" + "x" * 120, config=settings.config, machine="native")
    with pytest.raises(InvalidArgument) as caught:
        connect(long)
    assert "too long" in caught.value.message and "HOSTVM_RUN" in caught.value.hint


def test_another_users_engine(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hostvm.machines.connect.connect_unix", refuse)
    for machine, hint in (("native", "usermod -aG hostvm"), ("vm", "another user's machine")):
        settings.machine = machine
        with pytest.raises(Forbidden) as caught:
            connect(settings)
        assert hint in caught.value.hint
