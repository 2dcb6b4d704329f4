"""The records of the networks that users made: the database, and a copy in memory by id."""

from __future__ import annotations

from guest_agent.store.codec import from_plain, to_plain
from guest_agent.store.documents import parse_document, render_document
from guest_agent.store.reading import read_all
from guest_agent.store.records import Records
from guest_agent.wire.networks import Network

_KIND = "network"


class NetworkStore:
    """The record stands before the kernel has anything of a network, and goes when nothing is left of it."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._networks: dict[str, Network] = {}
        self.warnings: list[str] = []

    def load(self) -> None:
        """One that can't be read is set aside, and its id said."""
        self._networks, self.warnings = read_all(self._records, _KIND, _parse)

    def all(self) -> tuple[Network, ...]:
        """Oldest first."""
        return tuple(sorted(self._networks.values(), key=lambda network: network.created_ns))

    def get(self, network_id: str) -> Network | None:
        return self._networks.get(network_id)

    def save(self, network: Network) -> None:
        self._records.put(_KIND, network.id, render_document(to_plain(network)))
        self._networks[network.id] = network

    def forget(self, network_id: str) -> None:
        """Idempotent."""
        self._records.delete(_KIND, network_id)
        self._networks.pop(network_id, None)


def _parse(text: str) -> Network:
    return from_plain(Network, parse_document(text))
