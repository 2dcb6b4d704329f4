"""Clock, console, settings of the host: what needs no QEMU."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from guest_agent.wire.errors import InvalidArgument, Unavailable
from hostvm.machines.vm.host import start_time
from hostvm.machines.vm.state import Identity
from hostvm.supervisor.clock import GuestClock, HostClock
from hostvm.supervisor.host_settings import plan_begin, read_config, read_search
from hostvm.supervisor.journal import console_tail, has_panicked, with_console, worth_showing
from hostvm.supervisor.process import QemuProcess, open_exit, peer_pid, reap
from hostvm.supervisor.report import Report


def test_a_host_that_slept() -> None:
    clock = HostClock(wall=1000.0, steady=50.0)
    assert not clock.have_jumped(1001.0, 51.0)
    assert clock.have_jumped(1062.0, 52.0)
    assert not clock.have_jumped(1063.0, 53.0)
    assert clock.have_jumped(1003.0, 54.0)


class Guest:
    """A clock with these offsets, one after the other: each correction leads to the next."""

    def __init__(self, *offsets: float | None) -> None:
        self._offsets = list(offsets)
        self.corrections = 0

    async def offset(self) -> float:
        if self._offsets[0] is None:
            raise Unavailable("away")
        return self._offsets[0]

    async def correct(self) -> None:
        self.corrections += 1
        self._offsets = self._offsets[1:] or self._offsets


@pytest.mark.parametrize(
    ("offsets", "corrections"),
    [
        ((0.0,), 0),
        ((0.09,), 0),
        ((-0.09,), 0),
        ((0.2, 0.0), 1),
        ((-3600.0, -2.0, 0.05), 2),
        ((5.0,), 3),  # a host too busy to get it right: it is tried again at the next look
        ((None,), 0),
        ((1.0, None), 1),
    ],
)
def test_only_a_wrong_clock_is_set(offsets: tuple[float | None, ...], corrections: int) -> None:
    guest = Guest(*offsets)
    asyncio.run(GuestClock(guest.offset, guest.correct).check())
    assert guest.corrections == corrections


def test_the_consoles_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    assert with_console("stuck", str(path)) == "stuck"
    path.write_bytes(b"old\n" * 5000 + b"\x1b[31mpanic\x07\r\n\r\nlast \xff\n")
    lines = console_tail(str(path)).splitlines()
    assert lines[-2:] == ["   [31mpanic", "  last \ufffd"]
    assert len(lines) == 12
    assert with_console("stuck", str(path)).startswith("stuck\nthe console's last lines:\n  old\n")


def test_a_panic_is_shown_from_its_beginning() -> None:
    lines = [f"[{number}] before" for number in range(20)] + ["Kernel panic - why"] + ["register"] * 30
    assert worth_showing(lines) == ["Kernel panic - why"] + ["register"] * 11
    assert worth_showing(["a", "b"]) == ["a", "b"]


def test_a_panic_is_told_from_a_guest_that_is_silent(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    assert not has_panicked(str(path))
    path.write_text("[ 0.1] booting\n")
    assert not has_panicked(str(path))
    path.write_text("[ 2.7] Kernel panic - not syncing: Fatal exception in interrupt\n[ 2.8] Kernel Offset: disabled\n")
    assert has_panicked(str(path))


def test_what_a_guest_is_told(tmp_path: Path) -> None:
    config, resolv = tmp_path / "config.toml", tmp_path / "resolv.conf"
    assert read_config(str(config)) == {}
    config.write_text('[registries]\ninsecure = ["r.local"]\n[engine]\nbridge = "x"\n')
    assert read_config(str(config)) == {"registries": {"insecure": ["r.local"]}, "engine": {"bridge": "x"}}
    config.write_text("[registries")
    with pytest.raises(InvalidArgument, match=r"config\.toml"):
        read_config(str(config))
    resolv.write_text("nameserver 1.1.1.1\nsearch a.example b.example\n")
    assert read_search(str(resolv)) == ["a.example", "b.example"]
    assert read_search(str(tmp_path / "none")) == []
    first, second = (plan_begin("vm", 1 << 30, {}, []) for _ in range(2))
    assert first["entropy"] != second["entropy"]
    assert first["disk_size"] == 1 << 30


def test_a_process_is_pid_and_start_time() -> None:
    identity = Identity("", "", "", "", "")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = start_time(child.pid)
    process = QemuProcess(child.pid, started, identity)
    assert process.is_alive()
    assert not QemuProcess(child.pid, "another", identity).is_alive()
    assert not QemuProcess(child.pid, "another", identity).send_signal(9)
    exit_descriptor = open_exit(child.pid)
    process.kill()
    assert not process.is_alive()
    os.close(exit_descriptor)
    assert reap(child.pid) == ""
    assert start_time(child.pid) == ""
    child.wait()
    assert child.stdin is not None
    child.stdin.close()


def test_who_listens(tmp_path: Path) -> None:
    import socket

    path = str(tmp_path / "s")
    assert peer_pid(path) == 0
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        assert peer_pid(path) == os.getpid()


def test_a_reader_that_has_gone_is_no_reason_to_stop() -> None:
    reading, writing = os.pipe()
    report = Report(writing)
    report.stage("booting")
    assert os.read(reading, 100) == b'{"stage": "booting"}\n'
    os.close(reading)
    report.stage("more")
    report.failed(Unavailable("x"))
    Report(-1).ready()
