"""The contenders: each an engine that the benchmark starts in its own scratch folder, and ends by pid.

All run in one private mount namespace without /sys/fs/cgroup/unified: dockerd and podman with crun refuse hybrid
cgroups. Each has its own storage, state and bridge.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Protocol

from tests.bench.processes import (
    command_line,
    end,
    end_all_that_name,
    pids_that_name,
    proportional_set_size,
    run,
    wait_until_answers,
)

IMAGE = "busybox"
#: podman 4.3 asks for more than a machine without CAP_SYS_RESOURCE may set.
PODMAN_LIMITS = ("--ulimit", "nproc=5000:5000", "--ulimit", "nofile=1000:1000")


class Contender(Protocol):
    """An engine with a command line like docker's."""

    name: str
    environment: dict[str, str]

    def start(self, archive: str) -> None:
        """Starts it and gives it the image `busybox` from a root file system's tar. MUST be ready on return."""

    def stop(self) -> None:
        """Ends every process of it. MUST leave no mount in its scratch folder."""

    def command(self, *words: str) -> list[str]:
        """The argv for `docker WORDS`."""

    def run_command(self, *words: str) -> list[str]:
        """The argv for `docker run WORDS`."""

    def memory(self) -> int:
        """Bytes (PSS) of every process that serves containers, the containers' own excepted."""


class Docker:
    """Debian's dockerd with the containerd that it starts itself."""

    name = "docker"

    def __init__(self, scratch: str, *options: str) -> None:
        self._scratch = f"{scratch}/docker"
        self.address = f"unix://{self._scratch}/docker.sock"
        self.environment = {**os.environ, "DOCKER_HOST": self.address, "DOCKER_CONFIG": self._scratch}
        self._options = options
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self, archive: str) -> None:
        self.begin()
        run(self.command("import", archive, IMAGE), self.environment)

    def begin(self) -> None:
        """Starts it, without an image."""
        os.makedirs(self._scratch)
        run(["ip", "link", "add", "benchdocker", "type", "bridge"])
        run(["ip", "address", "add", "172.29.0.1/16", "dev", "benchdocker"])
        with open(f"{self._scratch}/daemon.log", "wb") as log:
            self._daemon = subprocess.Popen(self._daemon_command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until_answers(self.command("version"), self.environment, 60)

    def _daemon_command(self) -> list[str]:
        places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        folders = [f"--{option}={self._scratch}/{name}" for option, name in places.items()]
        return ["/usr/sbin/dockerd", f"--host={self.address}", "--bridge=benchdocker", *folders, *self._options]

    def stop(self) -> None:
        if self._daemon:
            end(self._daemon)
        end_all_that_name(self._scratch)
        run(["ip", "link", "delete", "benchdocker"])

    def command(self, *words: str) -> list[str]:
        return ["/usr/bin/docker", *words]

    def run_command(self, *words: str) -> list[str]:
        return self.command("run", *words)

    def memory(self) -> int:
        """dockerd, containerd, and a shim and perhaps a docker-proxy for each container."""
        return sum(map(proportional_set_size, pids_that_name(self._scratch))) + _memory_of("docker-proxy")


class Podman:
    """Debian's podman with crun and netavark; it has no daemon."""

    name = "podman"

    def __init__(self, scratch: str) -> None:
        self._scratch = f"{scratch}/podman"
        self.environment = {**os.environ, "TMPDIR": self._scratch}

    def start(self, archive: str) -> None:
        os.makedirs(self._scratch)
        run(self.command("import", archive, IMAGE), self.environment)

    def stop(self) -> None:
        run(self.command("rm", "--all", "--force", "--time=0"), self.environment)
        end_all_that_name(self._scratch)

    def command(self, *words: str) -> list[str]:
        places = {"root": "root", "runroot": "run", "tmpdir": "tmp", "network-config-dir": "networks"}
        folders = [f"--{option}={self._scratch}/{name}" for option, name in places.items()]
        how = ["--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime=crun", "--log-level=error"]
        return ["podman", *folders, "--storage-driver=overlay", *how, *words]

    def run_command(self, *words: str) -> list[str]:
        return self.command("run", *PODMAN_LIMITS, *words)

    def memory(self) -> int:
        """A conmon for each container."""
        return sum(map(proportional_set_size, pids_that_name(self._scratch)))


class Hostvm:
    """Our own engine, begun by its command line as a user's is."""

    name = "hostvm"

    def __init__(self, scratch: str, configuration: str = "") -> None:
        self._scratch = f"{scratch}/hostvm"
        self._configuration = configuration
        places = {"HOSTVM_DATA": "data", "HOSTVM_RUN": "run", "HOSTVM_CONFIG": "config.toml"}
        folders = {variable: f"{self._scratch}/{name}" for variable, name in places.items()}
        self.environment = {**os.environ, **folders}
        self.environment.pop("HOSTVM_HOST", None)
        self.run_folder = folders["HOSTVM_RUN"]
        self.address = f"unix://{self.run_folder}/engine.sock"

    def start(self, archive: str) -> None:
        self.begin()
        run(self.command("bootstrap", IMAGE), self.environment)

    def begin(self) -> None:
        """Starts it, without an image."""
        os.makedirs(self._scratch)
        with open(self.environment["HOSTVM_CONFIG"], "w", encoding="utf-8") as file:
            file.write(self._configuration)
        run(self.command("machine", "start"), self.environment)

    def stop(self) -> None:
        containers = run(self.command("ps", "-aq"), self.environment).split()
        if containers:
            run(self.command("rm", "--force", *containers), self.environment)
        end_all_that_name(self._scratch)

    def command(self, *words: str) -> list[str]:
        return [f"{os.path.dirname(sys.executable)}/hostvm", *words]

    def run_command(self, *words: str) -> list[str]:
        return self.command("run", *words)

    def memory(self) -> int:
        """Keeper and engine."""
        return sum(map(proportional_set_size, pids_that_name(self._scratch)))


def _memory_of(program: str) -> int:
    named = (pid for pid in pids_that_name(program) if os.path.basename(command_line(pid)[0]) == program)
    return sum(map(proportional_set_size, named))
