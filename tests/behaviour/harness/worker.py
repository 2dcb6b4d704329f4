"""The surroundings of one pytest process: its own networks, mounts and children."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.behaviour.harness import kernel
from tests.behaviour.harness.inside import below
from tests.behaviour.harness.processes import kill_all

#: The "internet" of a worker: documentation addresses (RFC 5737, RFC 3849), routed nowhere.
OWN_ADDRESS, OUTSIDE_ADDRESS = "198.51.100.1", "198.51.100.2"
OWN_ADDRESS6, OUTSIDE_ADDRESS6 = "2001:db8:51::1", "2001:db8:51::2"


@dataclass(frozen=True, slots=True)
class Worker:
    """`folder` is a tmpfs that only this process's descendants see.

    `outside` and `home` are descriptors of network namespaces: of the peer, and of where pytest was started.
    """

    folder: str
    outside: int
    home: int

    def home_command(self, *argv: str) -> list[str]:
        """The argv that runs a command on the network that pytest was started in: package registries are there."""
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.home}", *argv]

    def on_outside(self) -> AbstractContextManager[None]:
        """Sockets that are opened meanwhile belong to the outside peer."""
        return kernel.inside_network(self.outside)

    def close(self) -> None:
        """Gives back what the namespaces' end doesn't, processes that failed tests left among it."""
        kill_all(below(os.getpid()))
        os.close(self.outside)
        os.close(self.home)
        subprocess.run(["umount", "--recursive", "--lazy", self.folder], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def enter_worker() -> Worker:
    """Moves this process into namespaces of its own. MUST be called from the main thread, and once."""
    kernel.become_subreaper()
    home = kernel.open_network_namespace()
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWNET)
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_SLAVE)
    # In /tmp itself: a unix socket's path has at most 107 bytes (unix(7)), and pytest's own folders are deep.
    folder = tempfile.mkdtemp(prefix="hv-", dir="/tmp")
    kernel.mount("tmpfs", folder, "tmpfs", 0, "mode=755")
    return Worker(folder, _make_networks(), home)


def _make_networks() -> int:
    """A veth pair between this worker and a namespace that plays everything beyond the host."""
    home = kernel.open_network_namespace()
    kernel.unshare(kernel.CLONE_NEWNET)
    outside = kernel.open_network_namespace()
    _configure("lo")
    kernel.enter(home)
    os.close(home)
    _configure("lo")
    peer = ["peer", "name", "eth0", "netns", f"/proc/{os.getpid()}/fd/{outside}"]
    _ip("link", "add", "uplink", "type", "veth", *peer)
    _configure("uplink", f"{OWN_ADDRESS}/24", f"{OWN_ADDRESS6}/64")
    _ip("route", "add", "default", "via", OUTSIDE_ADDRESS)
    with kernel.inside_network(outside):
        _configure("eth0", f"{OUTSIDE_ADDRESS}/24", f"{OUTSIDE_ADDRESS6}/64")
    return outside


def _configure(interface: str, address: str = "", address6: str = "") -> None:
    if address:
        _ip("address", "add", address, "dev", interface)
    if address6:
        _ip("address", "add", address6, "dev", interface, "nodad")
    _ip("link", "set", interface, "up")


def _ip(*words: str) -> None:
    command: Sequence[str] = ("ip", *words)
    subprocess.run(command, check=True, timeout=20)
