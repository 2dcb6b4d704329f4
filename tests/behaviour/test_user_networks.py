"""Networks that users make: names, addresses, isolation, and what happens to them when the engine dies."""

from __future__ import annotations

from tests.behaviour.harness.machine import Machine

SLEEP = ("busybox", "sleep", "600")


def test_names_in_a_network(machine: Machine) -> None:
    machine("network", "create", "backend")
    machine("run", "-d", "--name", "database", "--network", "backend", "--network-alias", "db", *SLEEP)
    for name in ("database", "db", "database.backend"):
        assert "1 packets received" in machine("run", "--rm", "--network", "backend", "busybox", "ping", "-c1", name)
    machine("rm", "-f", "database")
    machine("network", "rm", "backend")
