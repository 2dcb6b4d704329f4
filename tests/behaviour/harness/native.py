"""An engine on this very host, in the worker's namespaces."""

from __future__ import annotations

import glob
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from tests.behaviour.harness import inside
from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.processes import is_alive, kill_below, reap_orphans
from tests.behaviour.harness.waiting import wait_for

#: Where an engine's containers have their groups, in every hierarchy of v1.
CGROUPS = "/sys/fs/cgroup/*/hostvm"


class NativeMachine(Machine):
    """With its own data, sockets, bridge and firewall table."""

    kind = "native"
    pace = 1.0

    def __init__(self, folder: str, bridge: str, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, environment)
        self.bridge = bridge
        self.data = f"{folder}/data"
        self.run = f"{folder}/run"
        self.socket = f"{self.run}/engine.sock"
        self.configure("")

    def configure(self, more: str) -> None:
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f'[engine]\nbridge = "{self.bridge}"\n{more}')

    def _own(self) -> dict[str, str]:
        return {"HOSTVM_DATA": self.data, "HOSTVM_RUN": self.run}

    # -- inside is here

    def inside(self, argv: Sequence[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(argv, input=stdin, capture_output=True, check=False)

    def ask(self, question: str, *arguments: object) -> Any:
        return inside.answer(question, *arguments)

    def belongings(self) -> dict[str, list[str]]:
        reap_orphans()
        return inside.belongings(os.getpid(), self.data, self.run, alone=False)

    def check_stopped(self) -> None:
        left = self.belongings()
        assert not left["mounts"], left["mounts"]
        assert self.bridge not in left["links"]
        wait_for(lambda: not self._processes(), f"the end of {self._processes()}")

    def _processes(self) -> list[str]:
        """Processes of this worker that name the machine's folder."""
        return [words for pid in inside.below(os.getpid()) if self.folder + "/" in (words := inside.command_of(pid))]

    def logs(self) -> list[str]:
        return [f"{self.data}/engine.log"]

    # -- its processes

    def roles(self) -> list[str]:
        return ["keeper" if "keeper" in words else "engine" for words in self._processes()]

    def find_keeper(self) -> int:
        return inside.find_keeper(self.run)

    def running(self) -> bool:
        return bool(self.find_keeper())

    def stop(self) -> None:
        if keeper := self.find_keeper():
            self("machine", "stop")
            wait_for(lambda: not is_alive(keeper), f"the end of keeper {keeper}")

    def kill(self) -> None:
        if keeper := self.find_keeper():
            kill_below(keeper)

    @contextmanager
    def data_on_the_host(self) -> Iterator[str]:
        yield self.data

    @contextmanager
    def little_space(self, size: int) -> Iterator[None]:
        os.mkdir(self.data)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", self.data], check=True)
        try:
            yield
        finally:
            self.stop()
            subprocess.run(["umount", self.data], check=True)

    def cut_power(self) -> None:
        groups = [path for name in os.listdir(f"{self.run}/containers") for path in glob.glob(f"{CGROUPS}/{name}")]
        self.kill()
        for group in groups:
            wait_for(partial(remove_group, group), f"the processes of {group} to be reaped")
        subprocess.run(["ip", "link", "delete", self.bridge], stderr=subprocess.DEVNULL, check=False)
        subprocess.run(["find", self.run, "-mindepth", "1", "-delete"], stderr=subprocess.DEVNULL, check=False)


def remove_group(path: str) -> bool:
    """False as long as a process is in it."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
