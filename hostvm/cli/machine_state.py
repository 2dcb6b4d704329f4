"""What a VM machine does at the moment, and how it is stopped: its supervisor knows, else its files."""

from __future__ import annotations

import os

from guest_agent.wire.errors import Unavailable
from hostvm.machines.vm.control import ask
from hostvm.machines.vm.orphan import end_orphan
from hostvm.machines.vm.paths import MachinePaths

#: Seconds for the supervisor to say how its machine is. It never waits for the guest to say it.
STATUS_DEADLINE = 5.0
END_DEADLINE = 30.0


def find_status(paths: MachinePaths) -> dict[str, object] | None:
    """The supervisor's status; None where none answers. Raises Forbidden."""
    try:
        return ask(paths.control_socket, {"op": "status"}, STATUS_DEADLINE)
    except Unavailable:
        return None


def state_of(paths: MachinePaths, status: dict[str, object] | None) -> str:
    """running, suspended, stopped, or what the supervisor calls it."""
    if status is not None:
        return str(status.get("state") or "running")
    return "suspended" if os.path.exists(paths.state_record) else "stopped"


def stop_machine(paths: MachinePaths, mode: str, timeout: float) -> bool:
    """Has the machine stopped; False where it wasn't running. `mode` is save, shutdown or kill.

    Raises Unavailable when it takes longer than `timeout` seconds, and what the supervisor refuses with.
    """
    if find_status(paths) is None:
        return False
    ask(paths.control_socket, {"op": "stop", "mode": mode}, timeout)
    return True


def end_machine(paths: MachinePaths) -> None:
    """Leaves nothing of the machine running, with or without a supervisor: what follows removes its data."""
    stop_machine(paths, "kill", END_DEADLINE)
    end_orphan(paths, END_DEADLINE)
