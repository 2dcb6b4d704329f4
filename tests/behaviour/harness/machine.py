"""A machine under test: an engine with folders of its own, and the command lines that speak to it.

Glossary. *Host*: where the tests and the command lines run. *Inside*: where the engine runs. Natively both are the same
place; a test keeps them apart all the same. `data` and `run` are paths inside, `socket`, `folder` and `config` on the
host.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, NamedTuple

from tests.behaviour.harness.waiting import patience, wait_for

HOSTVM = f"{os.path.dirname(sys.executable)}/hostvm"
DOCKER = "/usr/bin/docker"
#: Seconds after which a command counts as hung. Natively nothing takes a tenth of it on an idle machine.
DEADLINE = 120.0


class Result(NamedTuple):
    """What a command gave."""

    code: int
    out: str
    err: str


class Failed(AssertionError):
    """A command that was to succeed didn't."""

    def __init__(self, argv: Sequence[str], result: Result) -> None:
        super().__init__(
            f"{shlex.join(argv)}\nended with {result.code}\n--- stdout\n{result.out}\n--- stderr\n{result.err}"
        )


class Machine(ABC):
    """Where the engine under test lives: the native host, or a VM."""

    #: The word for `--machine`.
    kind: ClassVar[str]
    #: By how much everything's deadline is longer than natively.
    pace: ClassVar[float]
    folder: str
    config: str
    bridge: str
    data: str
    run: str
    socket: str
    #: Where Docker's clients find the engine, if not at `socket`: something that listens in between.
    docker_socket: str = ""

    def __init__(self, folder: str, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.config = f"{folder}/config.toml"
        self._extra = dict(environment or {})
        os.makedirs(folder)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment for `hostvm` and `docker` to find this machine's engine."""
        docker = {
            "DOCKER_HOST": f"unix://{self.docker_socket or self.socket}",
            "DOCKER_CONFIG": f"{self.folder}/docker",
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HOSTVM_", "DOCKER_"))}
        return {**inherited, **docker, "HOSTVM_CONFIG": self.config, "NO_COLOR": "1", **self._own(), **self._extra}

    @abstractmethod
    def _own(self) -> dict[str, str]:
        """The variables by which `hostvm` finds this machine."""

    @abstractmethod
    def configure(self, more: str) -> None:
        """Writes the configuration file, with these lines in its section `engine`; it counts from the next start on."""

    # -- command lines

    def attempt(self, *words: str, stdin: bytes | None = None, environment: Mapping[str, str] | None = None) -> Result:
        """`hostvm WORDS`, whatever comes of it."""
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
        """Any command on the host, in this machine's environment."""
        return self._command(list(argv), None, environment)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """`hostvm WORDS` in the background, with pipes; whoever starts it ends it.

        It hears ctrl-c, also where these tests run in the background of a shell, which has it ignored.
        """
        pipe = subprocess.PIPE
        return subprocess.Popen(
            ["env", "--default-signal=INT", HOSTVM, *words], env=self.environment, stdin=pipe, stdout=pipe, stderr=pipe
        )

    def _command(self, argv: list[str], stdin: bytes | None, environment: Mapping[str, str] | None) -> Result:
        done = subprocess.run(
            argv,
            env={**self.environment, **(environment or {})},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=patience(DEADLINE),
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    # -- asking the engine

    def inspect(self, name: str) -> dict[str, Any]:
        """The one object of `hostvm inspect NAME`."""
        (seen,) = json.loads(self("inspect", name))
        assert isinstance(seen, dict)
        return seen

    def status(self, name: str) -> str:
        return self("inspect", "--format", "{{.State.Status}}", name)

    def pid(self, name: str) -> int:
        """The container's first process as the machine numbers it."""
        return int(self("inspect", "--format", "{{.State.Pid}}", name))

    def address(self, name: str) -> str:
        """The container's address on the bridge."""
        return self("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name)

    def containers(self) -> list[str]:
        """Full ids of all containers."""
        return self("ps", "--all", "--quiet", "--no-trunc").split()

    # -- inside

    @abstractmethod
    def inside(self, argv: Sequence[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Runs a command beside the engine, as root. The machine MUST run."""

    @abstractmethod
    def ask(self, question: str, *arguments: object) -> Any:
        """The answer to one of `harness.inside`'s questions there. The machine MUST run."""

    def read_inside(self, path: str) -> str:
        text = self.ask("read", path)
        assert isinstance(text, str)
        return text

    def names_inside(self, folder: str) -> list[str]:
        """A folder's entries, sorted; none when there is no such folder."""
        return sorted(self.ask("names", folder))

    def python_inside(self, program: str, *arguments: str) -> str:
        """What a small program prints that runs beside the engine, successfully."""
        done = self.inside(["/usr/bin/python3", "-I", "-c", program, *arguments])
        if done.returncode:
            raise Failed(
                ["python3", "-c", program], Result(done.returncode, done.stdout.decode(), done.stderr.decode())
            )
        return done.stdout.decode().strip()

    @abstractmethod
    def belongings(self) -> dict[str, list[str]]:
        """Everything that a container or a command could leave behind, by kind, inside and on the host."""

    @abstractmethod
    def check_stopped(self) -> None:
        """After `stop`: shows that nothing of this machine runs, is mounted or is set up any more."""

    def said(self) -> str:
        """The last lines of its logs on the host, for the report of a failed test."""
        texts = [f"--- {path}\n{last_lines(path)}" for path in self.logs() if os.path.exists(path)]
        return "\n".join(texts)

    @abstractmethod
    def logs(self) -> list[str]:
        """Paths on the host."""

    # -- its processes

    def alive(self, pid: int) -> bool:
        """Whether a process inside runs (a zombie doesn't)."""
        return any(pid == other and state != "Z" for other, state, _, _ in self.ask("processes"))

    def signal(self, pid: int, number: int) -> None:
        """kill(2) inside."""
        self.ask("send_signal", pid, number)

    def keeper_pid(self) -> int:
        keeper = self.ask("find_keeper", self.run)
        assert keeper, "no keeper runs"
        assert isinstance(keeper, int)
        return keeper

    def engine_pid(self) -> int:
        """The engine that serves at present; waits while the keeper is between two."""
        keeper = self.keeper_pid()
        found = wait_for(lambda: self.ask("find_engine", keeper), "an engine beside the keeper")
        assert isinstance(found, int)
        return found

    def kill_engine(self) -> None:
        """SIGKILL; the keeper brings up a successor."""
        self.signal(self.engine_pid(), signal.SIGKILL)

    @abstractmethod
    def roles(self) -> list[str]:
        """What each process of this machine itself is, on the host and inside, such as "keeper"."""

    @abstractmethod
    def running(self) -> bool:
        """Whether there is anything to stop."""

    @abstractmethod
    def stop(self) -> None:
        """Ends containers, engine and machine, softly."""

    @abstractmethod
    def kill(self) -> None:
        """Ends everything of this machine the hard way; nothing is tidied."""

    def restart(self, environment: Mapping[str, str]) -> None:
        """Ends the machine and starts it with these variables in the engine's environment."""
        self.stop()
        self("machine", "start", environment=environment)

    @abstractmethod
    def data_on_the_host(self) -> AbstractContextManager[str]:
        """Where the stopped machine's data is on the host meanwhile. The machine MUST be stopped."""

    @abstractmethod
    def little_space(self, size: int) -> AbstractContextManager[None]:
        """Leaves this much space for the machine's data meanwhile. The machine MUST have no data yet."""

    @abstractmethod
    def cut_power(self) -> None:
        """Everything that a power cut ends: processes, the mounts that they kept, groups. The disk stays as it is."""


def last_lines(path: str, count: int = 40) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return "".join(file.readlines()[-count:])
