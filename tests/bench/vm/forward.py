"""Published ports beside slirp's own forwards and beside paramiko over ssh: latency, throughput, 1,000 at once.

All three lead to the same server in the same container of the same machine. slirp's forwards, one to the published
port inside the guest and one to an sshd there, are put into QEMU's argv by a program that stands in for it; hostvm
itself uses neither. paramiko gets each connection as a `direct-tcpip` channel, without the socket that a user's program
would connect to: kinder than what forwards by it.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import paramiko

from guest_agent.wire.errors import Unavailable
from hostvm.machines.ssh.client import open_transport
from hostvm.machines.ssh.keys import keep_key_pair
from hostvm.machines.vm.control import run_command
from tests.bench.figures import Promise, Result
from tests.bench.processes import run
from tests.bench.timing import interleave
from tests.bench.vm import baseline, forward_guest
from tests.bench.vm.channel import BYTES, Wire, echo, give, receive, take

HOSTVM = os.path.abspath(".venv/bin/hostvm")
OURS, SLIRP, SSH = 32380, 32381, 32322
OUR_NAME, SLIRP_NAME, SSH_NAME = "hostvm", "slirp's hostfwd", "paramiko over ssh"
#: Connections that are opened at once, each of which wants one answer.
MANY = 1000
#: Seconds after which one of them counts as lost.
PATIENCE = 60.0
#: Threads that open paramiko's channels: it has no other way to open several at once.
_OPENERS = 32
_ECHO, _TAKE, _GIVE = ((letter, BYTES) for letter in (b"e", b"k", b"s"))
_SSHD = "/run/hostvm/bench"
_STAND_IN = """\
#!{python} -I
import os, sys
more = ",hostfwd=tcp:127.0.0.1:{slirp}-:{ours},hostfwd=tcp:127.0.0.1:{ssh}-:22"
os.execv({qemu!r}, [{qemu!r}, *[word + more if word.startswith("user,id=") else word for word in sys.argv[1:]]])
"""


def measure(rounds: int, scratch: str) -> list[Result]:
    with ExitStack() as ends:
        machine = Machine(scratch)
        ends.callback(machine.end)
        address = machine.start()
        shell = machine.open_shell()
        ends.callback(shell.close)

        def channel() -> paramiko.Channel:
            return shell.open_channel("direct-tcpip", (address, forward_guest.PORT), ("127.0.0.1", 0), timeout=PATIENCE)

        def contenders(use: Callable[[Wire], float]) -> dict[str, Callable[[], float]]:
            return {
                OUR_NAME: lambda: closing(connect(OURS), use),
                SLIRP_NAME: lambda: closing(connect(SLIRP), use),
                SSH_NAME: lambda: closing(channel(), use),
            }

        latency = interleave(contenders(lambda wire: echo(request(wire, _ECHO))), rounds)
        inwards = interleave(contenders(lambda wire: give(request(wire, _TAKE))), rounds)
        outwards = interleave(contenders(lambda wire: take(request(wire, _GIVE))), rounds)
        lost: dict[str, list[float]] = {name: [] for name in latency}
        many = interleave(
            {
                OUR_NAME: lambda: counted(lost[OUR_NAME], at_once(OURS)),
                SLIRP_NAME: lambda: counted(lost[SLIRP_NAME], at_once(SLIRP)),
                SSH_NAME: lambda: counted(lost[SSH_NAME], at_once_by_channels(channel)),
            },
            max(1, rounds // 2),
        )
    return [
        Result("forward-latency", "a published port's round trip", "us", latency, ()),
        throughput("forward-to-container", "seconds for 16 MiB into a container", inwards),
        throughput("forward-to-host", "seconds for 16 MiB out of a container", outwards),
        Result("forward-many", f"seconds until {MANY} connections at once are answered", "s", many, ()),
        Result(
            "forward-lost", f"of {MANY} connections at once, lost", "", lost,
            [Promise("lost by hostvm", max(lost[OUR_NAME]), at_most=0)],
        ),
    ]  # fmt: skip


def throughput(name: str, title: str, samples: dict[str, list[float]]) -> Result:
    result = Result(name, title, "s", samples, ())
    ours = result.median(OUR_NAME)
    promises = [
        Promise("throughput against paramiko's", result.median(SSH_NAME) / ours, at_least=5),
        Promise("throughput against slirp's", result.median(SLIRP_NAME) / ours, at_least=1),
    ]
    return Result(name, title, "s", samples, promises)


def connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def closing(wire: socket.socket | paramiko.Channel, use: Callable[[Wire], float]) -> float:
    with wire:
        return use(wire)


def request(wire: Wire, what: tuple[bytes, int]) -> Wire:
    wire.sendall(forward_guest.REQUEST.pack(*what))
    return wire


def counted(lost: list[float], outcome: tuple[float, int]) -> float:
    seconds, missing = outcome
    lost.append(missing)
    return seconds


def at_once(port: int) -> tuple[float, int]:
    """Seconds until the last one was answered or given up, and how many were lost."""
    begin = time.perf_counter()
    answered = asyncio.run(_ask_all(port))
    return time.perf_counter() - begin, MANY - sum(answered)


async def _ask_all(port: int) -> list[bool]:
    return await asyncio.gather(*(_ask_one(port, number) for number in range(MANY)))


async def _ask_one(port: int, number: int) -> bool:
    message = number.to_bytes(8, "big")
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(forward_guest.REQUEST.pack(*_ECHO) + message)
                return await reader.readexactly(len(message)) == message
            finally:
                writer.close()
    except (OSError, EOFError):
        return False


def at_once_by_channels(channel: Callable[[], paramiko.Channel]) -> tuple[float, int]:
    def ask_one(number: int) -> bool:
        try:
            with channel() as wire:
                message = number.to_bytes(8, "big")
                request(wire, _ECHO).sendall(message)
                receive(wire, len(message))
                return True
        except (paramiko.SSHException, OSError, EOFError):
            return False

    begin = time.perf_counter()
    with ThreadPoolExecutor(_OPENERS) as openers:
        answered = list(openers.map(ask_one, range(MANY)))
    return time.perf_counter() - begin, MANY - sum(answered)


class Machine:
    """A VM machine with folders of its own, a container that serves, and a door for each contender."""

    def __init__(self, scratch: str) -> None:
        self._scratch = scratch
        self._control = f"{scratch}/r/machines/vm/control.sock"
        os.makedirs(f"{scratch}/cache")
        os.symlink(f"{baseline.CACHE}/guest", f"{scratch}/cache/guest")
        self._environment = {
            **os.environ, "HOSTVM_MACHINE": "vm", "HOSTVM_DATA": f"{scratch}/d", "HOSTVM_RUN": f"{scratch}/r",
            "HOSTVM_CACHE": f"{scratch}/cache", "HOSTVM_CONFIG": f"{scratch}/config.toml",
            "HOSTVM_QEMU": stand_in(f"{scratch}/qemu"),
        }  # fmt: skip

    def start(self) -> str:
        """The container's address."""
        self._hostvm("machine", "create", "--memory", "2g", "vm")
        self._hostvm("load", stdin=image_archive("server:latest", server_tar()))
        command = ("python3", "-ISE", "/server.py")
        self._hostvm("run", "-d", "--name", "server", "-p", f"{OURS}:{forward_guest.PORT}", "server", *command)
        self._wait_until_it_serves()
        return self._hostvm("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "server")

    def open_shell(self) -> paramiko.Transport:
        """By an sshd in the guest that listens, behind slirp's forward: what a user without hostvm has."""
        host_key, user_key = keep_key_pair(f"{self._scratch}/guest"), keep_key_pair(f"{self._scratch}/user")
        self._inside(f"mkdir -p -m 700 {_SSHD} /run/sshd")
        self._inside(f"umask 077; cat >{_SSHD}/host_key", host_key.private.encode())
        self._inside(f"umask 077; cat >{_SSHD}/user_key", user_key.public.encode() + b"\n")
        options = f"-f /dev/null -E {_SSHD}/log -o HostKey={_SSHD}/host_key -o AuthorizedKeysFile={_SSHD}/user_key"
        options += " -o StrictModes=no -o UsePAM=no -o AllowTcpForwarding=yes -o PermitRootLogin=yes"
        self._inside(f"/usr/sbin/sshd {options} || {{ cat {_SSHD}/log; exit 1; }}")
        deadline = time.monotonic() + PATIENCE
        while True:  # it listens a moment after it has gone to the background
            try:
                return open_transport(connect(SSH), "root", user_key, host_key, PATIENCE)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def end(self) -> None:
        subprocess.run([HOSTVM, "machine", "rm", "-f", "vm"], env=self._environment, capture_output=True, check=False)

    def _wait_until_it_serves(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with connect(OURS) as sock:
                    echo(request(sock, _ECHO))
                    return
            except (OSError, EOFError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _hostvm(self, *words: str, stdin: bytes = b"") -> str:
        return run([HOSTVM, *words], self._environment, stdin)

    def _inside(self, script: str, stdin: bytes = b"") -> None:
        outcome = run_command(self._control, ["/bin/sh", "-c", script], PATIENCE, stdin)
        if outcome.code:
            raise RuntimeError(f"{script}: {outcome.output.decode(errors='replace')}")


def stand_in(path: str) -> str:
    """A program that is QEMU with two forwards more."""
    qemu = shutil.which("qemu-system-x86_64")
    text = _STAND_IN.format(python=os.path.realpath(sys.executable), qemu=qemu, slirp=SLIRP, ours=OURS, ssh=SSH)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o700)
    return path


def image_archive(name: str, layer: bytes) -> bytes:
    """As `docker save` makes it."""
    config = {
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }  # fmt: skip
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            for member, data in (
                ("config.json", json.dumps(config).encode()),
                ("layer.tar", layer),
                ("manifest.json", json.dumps(manifest).encode()),
            ):
                entry = tarfile.TarInfo(member)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        return file.getvalue()


def server_tar() -> bytes:
    """This host's Python with what the server imports, as a root file system."""
    python = os.path.realpath(sys.executable)
    library = os.path.dirname(os.__file__)
    linked = subprocess.run(["ldd", python], check=True, capture_output=True, text=True).stdout
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w", dereference=True) as tar:
            tar.add(python, "usr/bin/python3")
            tar.add(forward_guest.__file__, "server.py")
            for path in re.findall(r"(/\S+) \(0x", linked):
                tar.add(path, path.lstrip("/"))
            for name in (*sorted(filter(is_module, os.listdir(library))), "encodings", "collections", "re"):
                tar.add(f"{library}/{name}", f"{library}/{name}".lstrip("/"))
        return file.getvalue()


def is_module(name: str) -> bool:
    return name.endswith(".py")
