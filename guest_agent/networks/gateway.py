"""Where published ports are held and how they lead to a container: the one thing that differs between an engine on the
host itself and an engine inside a machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from guest_agent.networks.ports import PortRecord
from guest_agent.wire.errors import HostvmError
from guest_agent.wire.models import PortBinding


class HeldPort(Protocol):
    """One port that is held for a container.

    Its descriptor is what keeps it: whoever has a copy of it (the descriptor holder) has the port.
    """

    @property
    def record(self) -> PortRecord:
        """What is held."""

    def fileno(self) -> int:
        """The descriptor, or -1 while there is none."""

    async def serve(self, address: str, address6: str = "") -> None:
        """Whoever comes is led to that address, when this returns. Idempotent; may raise HostvmError.

        `address6` is the same container's, "" where it has none: for who comes by IPv6, where the gateway can tell.
        """

    def resume(self, address: str, address6: str = "") -> None:
        """The same for what a predecessor had served: at once or in the background."""

    async def release(self) -> None:
        """The port is free when this returns, unless copies of the descriptor keep it. Idempotent, raises nothing."""

    def close(self) -> None:
        """Lets go of our own descriptor, and ends what we relay ourselves. Idempotent."""


class PortGateway(Protocol):
    """Holds ports. Used on the loop's thread."""

    #: Called with the container's id when the descriptor of one of its ports is another one from here on.
    changed: Callable[[str], None]

    @property
    def warnings(self) -> tuple[str, ...]:
        """For `info`: ports that should be held and aren't."""

    async def hold(self, bindings: Sequence[PortBinding], container_id: str, endpoint: str) -> list[HeldPort]:
        """All or none. Raises AddressInUse and others in docker's words, in which `endpoint` names the container."""

    def take_back(self, fd: int, record: PortRecord, container_id: str) -> HeldPort:
        """A port that a predecessor held, by its descriptor, which is the port's from here on."""

    def restore(self, bindings: Sequence[PortBinding], container_id: str) -> tuple[list[HeldPort], list[HostvmError]]:
        """Ports that running containers have lost: held again, at once or in the background; and what failed."""
