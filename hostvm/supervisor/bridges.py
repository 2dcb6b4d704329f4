"""The host's ports, folders and git, as the machine has them. Imported on first use: a resume comes before that."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from guest_agent.wire.errors import HostvmError
from hostvm.machines.vm.paths import MachinePaths
from hostvm.machines.vm.spec import MachineSpec
from hostvm.supervisor.channel import Channel
from hostvm.supervisor.journal import say
from hostvm.supervisor.streams import Stream

if TYPE_CHECKING:
    from hostvm.forward.table import PortTable
    from hostvm.shares.server import ShareServer
    from hostvm.supervisor.repositories import RepositoryService


class Bridges:
    """`wake` is called when somebody connects to a port of a suspended machine."""

    def __init__(self, channel: Channel, files: MachinePaths, spec: MachineSpec, wake: Callable[[], None]) -> None:
        self._channel = channel
        self._files = files
        self._spec = spec
        self._wake = wake
        self._ports: PortTable | None = None
        self._shares: ShareServer | None = None
        self._repositories: RepositoryService | None = None
        channel.services["ports"] = self._handle_lease
        channel.services["repository"] = self._handle_repository

    @property
    def connections(self) -> int:
        """By published ports."""
        return self._ports.connections if self._ports is not None else 0

    def describe_ports(self) -> list[dict[str, object]]:
        return self._ports.status() if self._ports is not None else []

    def open(self) -> None:
        """The guest runs. Idempotent."""
        if self._ports is not None:
            self._ports.resume()
        if self._shares is None:
            from hostvm.shares.server import ShareServer

            self._shares = ShareServer(
                self._files.share_socket, plan_shares(self._spec), journal=self._files.share_journal
            )
            self._shares.start()

    async def suspend(self) -> None:
        """The guest is about to be saved: ports stay, and wake it; the guest keeps its further requests for files."""
        if self._ports is not None:
            self._ports.suspend()
        await self._end_shares()

    async def abandon(self) -> None:
        """The guest is gone for good."""
        if self._ports is not None:
            self._ports.abandon()
        await self._end_shares()

    def close(self) -> None:
        """The supervisor ends: every port is free."""
        if self._ports is not None:
            self._ports.close()

    def change(self, spec: MachineSpec) -> None:
        """Raises InvalidArgument for rules that can't be read; then the old ones hold."""
        from hostvm.forward.rules import parse_rules

        rules = parse_rules(spec.ports, spec.name)
        self._spec = spec
        if self._ports is not None:
            self._ports.set_rules(rules)
        if self._shares is not None:
            self._shares.set_rules(plan_shares(spec))

    async def _end_shares(self) -> None:
        shares, self._shares = self._shares, None
        if shares is not None:
            await asyncio.to_thread(shares.stop)

    async def _handle_lease(self, request: dict[str, object], stream: Stream) -> None:
        await self._table().handle_lease(request, stream)

    async def _handle_repository(self, request: dict[str, object], stream: Stream) -> None:
        if self._repositories is None:
            from hostvm.supervisor.repositories import RepositoryService

            self._repositories = RepositoryService(self._files.repositories)
        await self._repositories.handle(request, stream)

    def _table(self) -> PortTable:
        if self._ports is None:
            from hostvm.forward.rules import deny_all, parse_rules
            from hostvm.forward.table import PortTable

            try:
                rules = parse_rules(self._spec.ports, self._spec.name)
            except HostvmError as error:
                say(f"the port rules can't be read, and nothing is published: {error.message}")
                rules = deny_all(self._spec.name)
            self._ports = PortTable(self._channel, rules, self._wake)
        return self._ports


def plan_shares(spec: MachineSpec) -> list[str]:
    """The user's list; without one, the home folder."""
    return [os.path.expanduser("~")] if spec.shares is None else list(spec.shares)
