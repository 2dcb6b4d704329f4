"""From `machine start` to an engine that answers, and to a container's port that answers on the host.

Ours three times: cold (no template yet: the first start of an installation), a new machine from the template, and a
suspended machine. Beside it the guest that Lima makes (tests/bench/vm/baseline.py), under the same accelerator, with as
many processors and as much memory: to ssh's banner; and with docker and a container in it, to the container's port.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.bench.figures import Promise, Result
from tests.bench.processes import run
from tests.bench.vm import baseline

HOSTVM = os.path.abspath(".venv/bin/hostvm")
#: Seconds after which a guest counts as one that will never come up.
DEADLINE = 300.0
SSH_PORT, WEB_PORT, OUR_WEB_PORT = 32222, 32280, 32281


def measure(rounds: int, scratch: str) -> list[Result]:
    ours = OurMachine(scratch)
    lima = LimaGuest(scratch)
    lima.prepare()
    engine: dict[str, list[float]] = {}
    port: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        ours.remove()
        samples = {
            "hostvm, cold": ours.cold_start(),
            "hostvm, template": ours.new_machine(),
            "hostvm, resumed": ours.resume(),
            "Debian guest, ssh": lima.time_to_ssh(),
        }
        ports = {"hostvm": ours.time_to_port(), "Debian guest, docker": lima.time_to_port()}
        if number:  # the first round warms the page cache up
            for kept, fresh in ((engine, samples), (port, ports)):
                for name, value in fresh.items():
                    kept.setdefault(name, []).append(value)
    ours.remove()
    return [_engine_result(engine), _port_result(port)]


def _engine_result(samples: dict[str, list[float]]) -> Result:
    result = Result("boot", "machine start to the engine's answer", "s", samples, ())
    theirs = result.median("Debian guest, ssh")
    promises = [
        Promise("cold boot against a Debian guest's ssh", theirs / result.median("hostvm, cold"), at_least=8),
        Promise("new machine against a Debian guest's ssh", theirs / result.median("hostvm, template"), at_least=8),
        Promise("seconds of a resume", result.median("hostvm, resumed"), at_most=0.3),
    ]
    return Result("boot", result.title, "s", samples, promises)


def _port_result(samples: dict[str, list[float]]) -> Result:
    result = Result("boot-port", "machine start to a container's port on the host", "s", samples, ())
    ratio = result.median("Debian guest, docker") / result.median("hostvm")
    return Result("boot-port", result.title, "s", samples, [Promise("against docker in a guest", ratio, at_least=5)])


class OurMachine:
    """A VM machine with folders of its own; the guest image is the one that is in the cache."""

    def __init__(self, scratch: str) -> None:
        self._cache = f"{scratch}/cache"
        os.makedirs(self._cache)
        os.symlink(f"{baseline.CACHE}/guest", f"{self._cache}/guest")
        self._environment = {
            **os.environ, "HOSTVM_MACHINE": "vm", "HOSTVM_DATA": f"{scratch}/d", "HOSTVM_RUN": f"{scratch}/r",
            "HOSTVM_CACHE": self._cache, "DOCKER_HOST": f"unix://{scratch}/r/machines/vm/engine.sock",
        }  # fmt: skip

    def hostvm(self, *words: str, stdin: bytes = b"") -> str:
        return run([HOSTVM, *words], self._environment, stdin)

    def remove(self) -> None:
        subprocess.run([HOSTVM, "machine", "rm", "-f", "vm"], env=self._environment, capture_output=True, check=False)

    def cold_start(self) -> float:
        """With no template: the guest boots, and the template is saved on the way."""
        shutil.rmtree(f"{self._cache}/templates", ignore_errors=True)
        return self._timed_start()

    def new_machine(self) -> float:
        self.remove()
        return self._timed_start()

    def resume(self) -> float:
        self.hostvm("machine", "stop")
        return self._timed_start()

    def time_to_port(self) -> float:
        """A machine that was shut down, with a container that starts with it."""
        run(["docker", "import", "-", "busybox"], self._environment, baseline.busybox_tar())
        command = ("run", "-d", "--restart", "always", "-p", f"{OUR_WEB_PORT}:80", "busybox", "/bin/busybox")
        self.hostvm(*command, "httpd", "-f", "-h", "/")
        self.hostvm("machine", "stop", "--shutdown")
        begin = time.monotonic()
        self.hostvm("machine", "start")
        return wait_until(lambda: answers_http(OUR_WEB_PORT), begin)

    def _timed_start(self) -> float:
        begin = time.monotonic()
        self.hostvm("machine", "start")
        return time.monotonic() - begin


class LimaGuest:
    """The Debian guest; each boot is the first one of its disk, but that docker's has had its container made."""

    def __init__(self, scratch: str) -> None:
        self._disk = f"{scratch}/docker.qcow2"
        self._log = f"{scratch}/console.log"

    def prepare(self) -> None:
        """Docker's disk: a container that is started with the guest."""
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", baseline.DISK, "-F", "raw", self._disk])
        with self._guest(f"file={self._disk},format=qcow2,if=virtio"):
            wait_until(lambda: answers_ssh(SSH_PORT), time.monotonic())
            self._ssh(
                "until docker info >/dev/null 2>&1; do sleep 1; done; docker import - busybox", baseline.busybox_tar()
            )
            self._ssh("docker run -d --restart always -p 80:80 busybox /bin/busybox httpd -f -h / && sync")

    def time_to_ssh(self) -> float:
        """Without docker, which would only be in the way."""
        mask = "systemd.mask=docker.service systemd.mask=docker.socket systemd.mask=containerd.service"
        begin = time.monotonic()
        with self._guest(f"file={baseline.DISK},format=raw,if=virtio,snapshot=on", mask):
            return wait_until(lambda: answers_ssh(SSH_PORT), begin)

    def time_to_port(self) -> float:
        begin = time.monotonic()
        with self._guest(f"file={self._disk},format=qcow2,if=virtio,snapshot=on"):
            return wait_until(lambda: answers_http(WEB_PORT), begin)

    @contextmanager
    def _guest(self, drive: str, options: str = "") -> Iterator[None]:
        forwards = f"hostfwd=tcp:127.0.0.1:{SSH_PORT}-:22,hostfwd=tcp:127.0.0.1:{WEB_PORT}-:80"
        argv = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35",
            "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2G", "-no-reboot",
            "-kernel", baseline.KERNEL, "-initrd", baseline.INITRD,
            "-append", f"root=/dev/vda rw console=ttyS0 quiet {options}", "-serial", f"file:{self._log}",
            "-drive", drive, "-netdev", f"user,id=n0,{forwards}", "-device", "virtio-net-pci,netdev=n0,romfile=",
            "-device", "virtio-rng-pci",
        ]  # fmt: skip
        process = subprocess.Popen(argv)
        try:
            yield
        finally:
            process.kill()
            process.wait()

    def _ssh(self, command: str, stdin: bytes = b"") -> None:
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        run(["ssh", "-i", baseline.KEY, *options, "-p", str(SSH_PORT), "root@127.0.0.1", command], stdin=stdin)


def wait_until(probe: Callable[[], bool], begin: float) -> float:
    """Seconds from `begin` on. Raises RuntimeError at the deadline."""
    while not probe():
        if time.monotonic() - begin > DEADLINE:
            raise RuntimeError("a guest doesn't come up")
        time.sleep(0.02)
    return time.monotonic() - begin


def answers_ssh(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.settimeout(1)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def answers_http(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("HEAD", "/")
        return connection.getresponse().status > 0
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
