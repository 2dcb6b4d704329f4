"""What is known to keep a VM machine from working, examined in an order in which causes come before effects.

A probe changes nothing, starts nothing, and may raise: that it can't be made is a finding too.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from guest_agent.wire.errors import HostvmError
from hostvm.machines.finding import Finding
from hostvm.machines.vm import probe_guest, probe_host
from hostvm.machines.vm.ground import Ground

PROBES: tuple[Callable[[Ground], list[Finding]], ...] = (
    probe_host.probe_folders,
    probe_host.probe_socket_path,
    probe_host.probe_qemu,
    probe_host.probe_memory,
    probe_host.probe_disk,
    probe_host.probe_image,
    probe_host.probe_set_aside,
    probe_host.probe_saved_state,
    probe_guest.probe_start,
    probe_guest.probe_supervisor,
    probe_guest.probe_guest,
    probe_guest.probe_clock,
    probe_guest.probe_shares,
    probe_guest.probe_guest_disk,
    probe_guest.probe_engine,
)


def examine(ground: Ground) -> list[Finding]:
    """What every probe finds."""
    findings: list[Finding] = []
    for probe in PROBES:
        try:
            findings += probe(ground)
        except (HostvmError, OSError, ValueError, subprocess.SubprocessError) as error:
            subject = probe.__name__.removeprefix("probe_").replace("_", " ")
            findings.append(Finding(subject, f"can't be examined: {error}", getattr(error, "hint", "")))
    return findings
