"""The engine's tables in the firewall: there, up to date with its bridges, and back when somebody has removed them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from guest_agent.linux.nftables import Nftables, NftablesError
from guest_agent.networks import rules
from guest_agent.networks.coexistence import forget_bridge, let_bridge_through
from guest_agent.networks.rules import BridgeRules
from guest_agent.networks.watch import RulesetWatch
from guest_agent.wire.errors import HostFailed

Bridges = Callable[[], Sequence[BridgeRules]]


class Firewall:
    """Must be used on the loop's thread. `rebuild` fills the maps again after the tables were lost."""

    def __init__(self, nftables: Nftables, table: str, bridges: Bridges, rebuild: Callable[[], None]) -> None:
        self._nftables = nftables
        self._table = table
        self._bridges = bridges
        self._rebuild = rebuild
        self._watch: RulesetWatch | None = None
        self.trouble: tuple[str, ...] = ()  #: for `info`

    def start(self) -> None:
        """Idempotent. Raises NftablesError and OSError."""
        self.apply()
        self._watch = self._watch or RulesetWatch(self._changed)
        self.let_through()

    def apply(self) -> None:
        """The tables say what they should for the bridges that there are. Maps keep leading where they led."""
        bridges = self._bridges()
        try:
            self._nftables.run(rules.plan_table(self._table, bridges))
        except NftablesError:
            self._nftables.run(rules.plan_new_table(self._table, bridges))
        if not any(bridge.of(6) for bridge in bridges):
            self._remove_table6()

    def let_through(self) -> None:
        """Other people's firewalls may drop what is forwarded."""
        try:
            for bridge in self._bridges():
                let_bridge_through(self._nftables, bridge.name)
            self.trouble = ()
        except HostFailed as failure:
            self.trouble = (f"{failure.message}; {failure.hint}",)

    def forget(self, bridge: str) -> None:
        """Takes our rules for a bridge out of other people's firewalls. Idempotent."""
        forget_bridge(self._nftables, bridge)

    def remove(self) -> None:
        """Idempotent. The bridges' other rules are to be forgotten one by one."""
        self.close()
        self._nftables.run(rules.plan_remove_table(self._table))
        self._remove_table6()

    def close(self) -> None:
        """Watches no more; the rules stay. May be called twice."""
        if self._watch:
            self._watch.close()

    def _remove_table6(self) -> None:
        with contextlib.suppress(NftablesError):  # a kernel without IPv6
            self._nftables.run(rules.plan_remove_table6(self._table))

    def _changed(self) -> None:
        """Somebody touched the firewall: what is missing comes back, and ports are relayed until it does."""
        self.let_through()
        if not self._is_there():
            try:
                self.apply()
                self._rebuild()
            except NftablesError as failure:
                self.trouble += (f"the firewall's rules were removed and can't be restored: {failure}",)

    def _is_there(self) -> bool:
        try:
            self._nftables.run(f"list chain ip {self._table} forward")
        except NftablesError:
            return False
        return True
