"""Named places where a test can make a step fail or kill the engine, and where who debugs it can stop it.

`HOSTVM_FAILPOINTS="run.overlay.after=kill,run.network.before=error"` is read once, at the engine's start. Without it a
failpoint costs one look into an empty dictionary.
"""

from __future__ import annotations

import os
import signal

from guest_agent.wire.errors import HostFailed


def parse_failpoints(text: str) -> dict[str, str]:
    """`name=action,...` as a dictionary; actions are `error`, `kill` and `stop`."""
    pairs = (entry.partition("=") for entry in text.split(",") if entry)
    return {name.strip(): action.strip() for name, _equals, action in pairs}


_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
_ACTIVE = parse_failpoints(os.environ.get("HOSTVM_FAILPOINTS", ""))


def failpoint(name: str) -> None:
    """Do what the environment asks for at this place: nothing, raise HostFailed, or kill or stop ourselves."""
    action = _ACTIVE.get(name)
    if action == "error":
        raise HostFailed(f"failpoint {name}")
    if action in _SIGNALS:
        os.kill(os.getpid(), _SIGNALS[action])
