"""A machine under test: an engine with folders of its own, and the command lines that speak to it."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from tests.behaviour.harness.waiting import wait_for

HOSTVM = f"{os.path.dirname(sys.executable)}/hostvm"
#: Where an engine's containers have their groups, in every hierarchy of v1.
CGROUPS = "/sys/fs/cgroup/*/hostvm"
DOCKER = "/usr/bin/docker"
#: Seconds after which a command counts as hung. Nothing here takes a tenth of it on an idle machine.
DEADLINE = 120.0


class Result(NamedTuple):
    """What a command gave."""

    code: int
    out: str
    err: str


class Machine(Protocol):
    """Where the engine under test lives: the native host, or a VM."""

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment for `hostvm` and `docker` to find this machine's engine."""

    def attempt(self, *words: str, stdin: bytes | None = None, environment: Mapping[str, str] | None = None) -> Result:
        """`hostvm WORDS`, whatever comes of it."""


class Failed(AssertionError):
    """A command that was to succeed didn't."""

    def __init__(self, argv: Sequence[str], result: Result) -> None:
        super().__init__(
            f"{shlex.join(argv)}\nended with {result.code}\n--- stdout\n{result.out}\n--- stderr\n{result.err}"
        )


class NativeMachine:
    """An engine on this host, in the worker's namespaces, with its own data, sockets, bridge and table."""

    def __init__(self, folder: str, bridge: str, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.bridge = bridge
        self.data = f"{folder}/data"
        self.run = f"{folder}/run"
        self.config = f"{folder}/config.toml"
        self._extra = dict(environment or {})
        os.makedirs(folder)
        self.configure("")

    def configure(self, more: str) -> None:
        """Writes the configuration file; it counts from the engine's next start on."""
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f'[engine]\nbridge = "{self.bridge}"\n{more}')

    @property
    def environment(self) -> dict[str, str]:
        own = {"HOSTVM_DATA": self.data, "HOSTVM_RUN": self.run, "HOSTVM_CONFIG": self.config}
        docker = {"DOCKER_HOST": f"unix://{self.run}/engine.sock", "DOCKER_CONFIG": f"{self.folder}/docker"}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HOSTVM_", "DOCKER_"))}
        return {**inherited, **own, **docker, "NO_COLOR": "1", **self._extra}

    # -- command lines

    def attempt(self, *words: str, stdin: bytes | None = None, environment: Mapping[str, str] | None = None) -> Result:
        return self._command([HOSTVM, *words], stdin, environment)

    def __call__(self, *words: str, stdin: bytes | None = None, environment: Mapping[str, str] | None = None) -> str:
        """`hostvm WORDS` that succeeds: its standard output without the last newline."""
        result = self.attempt(*words, stdin=stdin, environment=environment)
        if result.code:
            raise Failed(["hostvm", *words], result)
        return result.out.removesuffix("\n")

    def fails(self, code: int, *words: str, stdin: bytes | None = None) -> str:
        """`hostvm WORDS` that ends with `code`: its standard error."""
        result = self.attempt(*words, stdin=stdin)
        if result.code != code:
            raise Failed([f"[expecting {code}]", "hostvm", *words], result)
        return result.err

    def docker(self, *words: str, stdin: bytes | None = None) -> str:
        """Debian's docker command line against this engine, successfully: its standard output."""
        result = self._command([DOCKER, *words], stdin, None)
        if result.code:
            raise Failed(["docker", *words], result)
        return result.out.removesuffix("\n")

    def command(self, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> Result:
        """Any command in this machine's environment."""
        return self._command(list(argv), None, environment)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """`hostvm WORDS` in the background, with pipes; whoever starts it ends it."""
        pipe = subprocess.PIPE
        return subprocess.Popen([HOSTVM, *words], env=self.environment, stdin=pipe, stdout=pipe, stderr=pipe)

    def _command(self, argv: list[str], stdin: bytes | None, environment: Mapping[str, str] | None) -> Result:
        done = subprocess.run(
            argv,
            env={**self.environment, **(environment or {})},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    # -- looking at it

    def inspect(self, name: str) -> dict[str, Any]:
        """The one object of `hostvm inspect NAME`."""
        (seen,) = json.loads(self("inspect", name))
        assert isinstance(seen, dict)
        return seen

    def status(self, name: str) -> str:
        return self("inspect", "--format", "{{.State.Status}}", name)

    def pid(self, name: str) -> int:
        """The container's first process as the host numbers it."""
        return int(self("inspect", "--format", "{{.State.Pid}}", name))

    def address(self, name: str) -> str:
        """The container's address on the bridge."""
        return self("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name)

    def containers(self) -> list[str]:
        """Full ids of all containers."""
        return self("ps", "--all", "--quiet", "--no-trunc").split()

    # -- its processes

    def find_keeper(self) -> int | None:
        """The process that holds containers and outlives engines; its words name the journal in our run folder."""
        return next((pid for pid in parents() if "keeper" in (words := command_of(pid)) and self.run in words), None)

    def keeper_pid(self) -> int:
        keeper = self.find_keeper()
        assert keeper, "no keeper runs"
        return keeper

    def engine_pid(self) -> int:
        """The engine that serves at present; waits while the keeper is between two."""
        keeper = self.keeper_pid()
        return wait_for(lambda: find_engine(keeper), "an engine beside the keeper")

    def kill_engine(self) -> None:
        """SIGKILL; the keeper brings up a successor."""
        os.kill(self.engine_pid(), signal.SIGKILL)

    def running(self) -> bool:
        return self.find_keeper() is not None

    def stop(self) -> None:
        """Ends containers, engine and keeper, softly."""
        if self.running():
            keeper = self.keeper_pid()
            self("machine", "stop")
            wait_for(lambda: not is_alive(keeper), f"the end of keeper {keeper}")

    def kill(self) -> None:
        """Ends keeper, engine and containers the hard way; nothing is tidied."""
        if keeper := self.find_keeper():
            kill_all([keeper, *descendants(keeper)])

    def restart(self, environment: Mapping[str, str]) -> None:
        """Ends the engine and its keeper, and starts them with these variables in their environment."""
        self.stop()
        self("machine", "start", environment=environment)

    def cut_power(self) -> None:
        """Everything that a power cut ends: processes, the mounts that they kept, groups. The disk stays as it is."""
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


def child_pids(parent: int) -> list[int]:
    """The direct children of a process."""
    return [pid for pid, its_parent in parents().items() if its_parent == parent]


def descendants(ancestor: int) -> list[int]:
    """Children, their children and so on; no zombies."""
    found = child_pids(ancestor)
    for pid in found:
        found += child_pids(pid)
    return found


def kill_all(pids: Sequence[int]) -> None:
    """SIGKILL in this order, and waits for their end."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not parents().keys() & set(pids), f"the end of {pids}")


def parents() -> dict[int, int]:
    """pid -> parent's pid of every process that isn't a zombie."""
    found = {}
    for pid, state, parent in process_table():
        if state != "Z":
            found[pid] = parent
    return found


def process_table() -> Iterator[tuple[int, str, int]]:
    """(pid, state letter, parent's pid) of every process: fields 1, 3 and 4 of /proc/PID/stat (proc(5))."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
                yield int(name), state, int(parent)


def find_engine(keeper: int) -> int | None:
    """The keeper's child that is our own Python program."""
    return next((pid for pid in child_pids(keeper) if "guest_agent" in command_of(pid)), None)


def command_of(pid: int) -> str:
    """The words of a process, with spaces between; "" for one that has ended."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Runs still (a zombie doesn't)."""
    return pid in parents()
