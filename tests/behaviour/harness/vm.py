"""An engine in a QEMU VM; its supervisor and QEMU run in the worker's namespaces.

Everything inside is looked at through the supervisor's control socket, which runs commands in the guest beside the
engine: the way that `hostvm doctor` goes too.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hostvm.machines.vm.control import run_command
from tests.behaviour.harness import inside
from tests.behaviour.harness.answerer import Answerer
from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.processes import is_alive, kill_all, kill_and_wait, reap_orphans
from tests.behaviour.harness.waiting import patience, wait_for

#: The default VM machine's name.
NAME = "vm"
ROOT = os.path.normpath(f"{os.path.dirname(os.path.abspath(__file__))}/../../..")
#: Image, initrd and template are made once for all workers, and stay for the next run.
CACHE = f"{ROOT}/.cache/vm"


class VmMachine(Machine):
    """The default VM machine of folders of its own. It is made by the first command that needs it."""

    kind = "vm"
    #: TCG runs Python at a tenth of the host's speed; waiting for disks and for time itself costs nothing more.
    pace = 5.0
    bridge = "hostvm0"
    data = "/var/lib/hostvm"
    run = "/run/hostvm"

    def __init__(self, folder: str, shared: str, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, environment)
        self.home = f"{folder}/data/machines/{NAME}"
        self.sockets = f"{folder}/run/machines/{NAME}"
        self.socket = f"{self.sockets}/engine.sock"
        self._answerer = Answerer(f"{self.sockets}/control.sock")
        self.configure("")
        self("machine", "create", "--memory", "1g", "--share", shared, NAME)

    def configure(self, more: str) -> None:
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"[engine]\n{more}")

    def _own(self) -> dict[str, str]:
        places = {"HOSTVM_DATA": f"{self.folder}/data", "HOSTVM_RUN": f"{self.folder}/run", "HOSTVM_CACHE": CACHE}
        return {**places, "HOSTVM_MACHINE": NAME}

    # -- inside is behind the control socket

    def inside(self, argv: Sequence[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        outcome = run_command(f"{self.sockets}/control.sock", list(argv), patience(), stdin)
        return subprocess.CompletedProcess(argv, outcome.code, outcome.output, outcome.errors)

    def ask(self, question: str, *arguments: object) -> Any:
        return self._answerer.ask(question, *arguments)

    def belongings(self) -> dict[str, list[str]]:
        """In the guest all control groups are this machine's; on the host the supervisor must let go of ports."""
        reap_orphans()
        return {
            **self.ask("belongings", 1, self.data, self.run, True),
            "on the host": numbered(map(role_of, self._processes().values())),
            "of the supervisor": inside.descriptors(self.supervisor_pid()),
        }

    def check_stopped(self) -> None:
        wait_for(lambda: not self._processes(), f"the end of {self._processes()}")

    def logs(self) -> list[str]:
        return [f"{self.home}/{name}.log" for name in ("console", "guest", "supervisor")]

    # -- its processes on the host

    def _processes(self) -> dict[int, str]:
        """pid -> words of this worker's processes that name the machine's folder."""
        words = {pid: inside.command_of(pid) for pid in inside.below(os.getpid())}
        return {pid: line for pid, line in words.items() if f"{self.folder}/" in line}

    def _find(self, word: str) -> int:
        return next((pid for pid, words in self._processes().items() if word in words), 0)

    def qemu_pid(self) -> int:
        """0 = it doesn't run. The record is the supervisor's; the process table is what counts."""
        with contextlib.suppress(FileNotFoundError), open(f"{self.home}/qemu.json", encoding="utf-8") as file:
            pid = int(json.load(file)["pid"])
            return pid if is_alive(pid) else 0
        return 0

    def supervisor_pid(self) -> int:
        return self._find("hostvm.supervisor")

    def roles(self) -> list[str]:
        keeper = self.keeper_pid()
        guest = [
            "engine" for _, state, parent, words in self.ask("processes") if is_engine(keeper, state, parent, words)
        ]
        return ["keeper", *guest, *map(role_of, self._processes().values())]

    def running(self) -> bool:
        return bool(self.supervisor_pid() or self.qemu_pid())

    def stop(self) -> None:
        self.stop_asking()
        if self.running():
            self("machine", "stop", "--shutdown", NAME)

    def suspend(self) -> None:
        """Ends QEMU with the machine's state saved."""
        self("machine", "stop", NAME)

    def stop_asking(self) -> None:
        """Nobody in the guest waits for a question any more: the next one begins anew."""
        self._answerer.close()

    def kill(self) -> None:
        self.stop_asking()
        kill_all(sorted(self._processes(), key=lambda pid: pid != self.supervisor_pid()))

    def kill_supervisor(self) -> None:
        pid = self.supervisor_pid()
        assert pid, "no supervisor runs"
        kill_all([pid])

    @contextmanager
    def data_on_the_host(self) -> Iterator[str]:
        place = f"{self.folder}/mnt"
        os.makedirs(place, exist_ok=True)
        subprocess.run(["mount", "-o", "loop", f"{self.home}/disk.raw", place], check=True)
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)

    @contextmanager
    def little_space(self, size: int) -> Iterator[None]:
        self("machine", "start", NAME)
        path = self.ask("fill", self.data, size)
        try:
            yield
        finally:
            self.ask("remove", path)

    def cut_power(self) -> None:
        """SIGKILL to QEMU: what the guest hadn't written to its disk is lost, as its memory is."""
        pid = self.qemu_pid()
        assert pid, "no QEMU runs"
        kill_and_wait(pid, patience())


def is_engine(keeper: int, state: str, parent: int, words: str) -> bool:
    return parent == keeper and state != "Z" and "guest_agent" in words


def numbered(roles: Iterable[str]) -> list[str]:
    """A second one of a kind has another name than the first; that a process was replaced makes no difference."""
    return [f"{role} {number}" for role, count in Counter(roles).items() for number in range(1, count + 1)]


def role_of(words: str) -> str:
    if "hostvm.supervisor" in words:
        return "supervisor"
    return "qemu" if "qemu-system" in words else words
