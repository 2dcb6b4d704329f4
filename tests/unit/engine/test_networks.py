"""Which networks may go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from guest_agent.engine.networks import NetworkVerbs
from guest_agent.engine.parts import Parts
from guest_agent.wire.errors import Forbidden
from guest_agent.wire.networks import Network

BACK = Network("b" * 64, "back", "bridge", 1)
FRONT = Network("f" * 64, "front", "bridge", 1)


class Networks:
    """Somebody has an interface in `back`, of whom no record tells."""

    def __init__(self) -> None:
        self.there = [BACK, FRONT]

    def all(self) -> list[Network]:
        return list(self.there)

    def is_used(self, network_id: str) -> bool:
        return network_id == BACK.id

    def remove(self, network: Network) -> None:
        self.there.remove(network)


def verbs(networks: Networks) -> NetworkVerbs:
    table, events = SimpleNamespace(all=lambda: ()), SimpleNamespace(publish=lambda *_: None)
    return NetworkVerbs(cast(Parts, SimpleNamespace(networks=networks, table=table, events=events)), 1)


def test_a_network_that_a_start_or_a_build_is_on_stays() -> None:
    """Both have their interface long before, or without, a record of a running container."""
    networks = Networks()
    with pytest.raises(Forbidden, match="has active endpoints"):
        verbs(networks).remove("back")
    assert verbs(networks).prune(frozenset({BACK.id, FRONT.id})) == ("front",)
    assert networks.there == [BACK]
