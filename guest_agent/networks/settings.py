"""What an engine's network is called and made of. Two engines with different names never touch each other's things."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Names in the kernel, and where the host's resolver settings are."""

    bridge: str = "hostvm0"
    subnet: str = ""  #: "" = the first of our candidates that clashes with no route; else "10.1.0.0/16"
    table: str = "hostvm"
    upstream_resolv_conf: str = "/etc/resolv.conf"
    #: Where systemd-resolved lists the servers that it asks, for hosts whose resolv.conf names only its own stub.
    systemd_resolv_conf: str = "/run/systemd/resolve/resolv.conf"
    #: Inside a machine: the agent's socket, by which the host's ports are leased. "" = the ports are this kernel's.
    lease_socket: str = ""
    #: Inside a machine: the address at which services on the host's loopback are reached; "" = there is none.
    host_address: str = ""

    def network_id(self, network: str) -> str:
        """64 hex digits, the same after every restart."""
        return hashlib.sha256(f"{self.table}/{self.bridge}/{network}".encode()).hexdigest()


class DescriptorHolder(Protocol):
    """A process that outlives the engine and keeps descriptors for it. All of it is idempotent and synchronous."""

    def hold(self, key: str, fds: Sequence[int], note: str) -> None:
        """Keeps duplicates of them, in order, in place of what was held under the key."""

    def get(self, key: str) -> tuple[list[int], str]:
        """Fresh duplicates, which the caller owns, and the note; ([], "") where nothing is held."""

    def drop(self, key: str) -> None:
        """Closes what is held under the key, if anything."""

    def keys(self) -> Iterable[str]:
        """Every key, of whomever."""
