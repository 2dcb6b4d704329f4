"""What the probes of `doctor` look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hostvm.machines.vm.paths import MachinePaths, VmPaths
from hostvm.machines.vm.spec import MachineSpec


@dataclass(frozen=True, slots=True)
class Ground:
    """What the probes look at. `status` is None where no supervisor answers."""

    paths: VmPaths
    machine: MachinePaths
    spec: MachineSpec
    shares: tuple[str, ...]
    environment: Mapping[str, str]
    status: Mapping[str, object] | None

    @property
    def is_running(self) -> bool:
        return self.status is not None and self.status.get("state") == "running"
