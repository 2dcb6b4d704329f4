"""What a machine has on the kernel and on disk, so that a test can show that nothing was left behind."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.waiting import wait_for


@dataclass(frozen=True, slots=True)
class Belongings:
    """One look at everything that a container or a command could leave behind, by kind."""

    kinds: dict[str, frozenset[str]]

    def beyond(self, other: Belongings) -> dict[str, list[str]]:
        """What is here and not in `other`."""
        more = {kind: entries - other.kinds[kind] for kind, entries in self.kinds.items()}
        return {kind: sorted(entries) for kind, entries in more.items() if entries}


def look_at(machine: Machine) -> Belongings:
    return Belongings({kind: frozenset(entries) for kind, entries in machine.belongings().items()})


def check_nothing_left(machine: Machine, before: Belongings) -> None:
    """Waits until nothing is there that wasn't before: the kernel takes namespaces and their links away in its time."""

    def is_clean() -> bool:
        left.clear()
        left.update(look_at(machine).beyond(before))
        return not left

    left: dict[str, list[str]] = {}
    try:
        wait_for(is_clean, "nothing to be left behind", 15)
    except AssertionError:
        raise AssertionError(f"left behind: {json.dumps(left, indent=1)}") from None
