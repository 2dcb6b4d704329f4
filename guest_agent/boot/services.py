"""The processes that init starts, and starts again: agent, relay, keeper (which starts the engine).

Agent and relay are forks of init, which has imported their code: no interpreter to start. The keeper is started by
exec, as everywhere, and its engine waits for the data disk (`--hold`).
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable

from guest_agent.boot.configuration import CHANNEL, FILES

DATA, RUN, CONFIG = "/var/lib/hostvm", "/run/hostvm", "/etc/hostvm/config.toml"
HOLD = f"{RUN}/hold"

#: The engine makes this file when it has imported everything and waits.
WARM = f"{HOLD}.waiting"

#: A process that ends at once is started again after 0, 0.1, 0.2, 0.4 ... at most 5 seconds.
_LONGEST_PAUSE = 5.0
_SETTLED_SECONDS = 10.0


class Service:
    """A process that is started again when it ends; `start` gives its pid."""

    def __init__(self, name: str, start: Callable[[], int]) -> None:
        self.name = name
        self.pid = 0
        self._start = start
        self._started = 0.0
        self._failures = 0
        self._due = 0.0

    def start_if_due(self) -> float | None:
        """Starts it when it is missing; how many seconds to wait where it isn't time yet, None otherwise."""
        if self.pid:
            return None
        wait = self._due - time.monotonic()
        if wait > 0:
            return wait
        self._started = time.monotonic()
        self.pid = self._start()
        return None

    def ended(self) -> None:
        """Its process was reaped."""
        self.pid = 0
        self._failures = 0 if time.monotonic() - self._started > _SETTLED_SECONDS else self._failures + 1
        pause = min(0.1 * (1 << min(self._failures - 2, 16)), _LONGEST_PAUSE) if self._failures > 1 else 0.0
        self._due = time.monotonic() + pause


def fork(work: Callable[[], None], name: str, keep: tuple[int, ...]) -> int:
    """A child that does `work` and ends; it keeps the standard streams and these descriptors alone."""
    pid = os.fork()
    if pid:
        return pid
    try:
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        close_all_but(keep)
        _take_name(name)
        work()
    except BaseException as error:
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def close_all_but(keep: tuple[int, ...]) -> None:
    """Everything above the standard streams."""
    low = 3
    for descriptor in sorted(keep):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, 4096)


def _take_name(name: str) -> None:
    """As `ps` shows it (proc(5), /proc/self/comm)."""
    with open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write(f"hostvm-{name}"[:15])


class Keeper:
    """The engine's keeper: its argv, and what it says of its start by a pipe."""

    def __init__(self) -> None:
        self.readiness = -1
        self.environment: dict[str, str] = {}

    def start(self) -> int:
        """Its pid. `readiness` is the descriptor that becomes readable when the engine is ready, or has failed."""
        self.forget_readiness()
        self.readiness, writing = os.pipe()
        argv = [
            sys.executable, "-I", "-m", "guest_agent", "serve", "--data", DATA, "--run", RUN, "--config", CONFIG,
            "--ready-fd", "3", "--hold", HOLD, "--log", "-",
        ]  # fmt: skip
        raised = fcntl.fcntl(writing, fcntl.F_DUPFD_CLOEXEC, 100)
        os.close(writing)
        try:
            return os.posix_spawn(
                argv[0], argv, {**os.environ, **self.environment}, setsid=True,
                file_actions=[(os.POSIX_SPAWN_DUP2, raised, 3)],
            )  # fmt: skip
        finally:
            os.close(raised)

    def forget_readiness(self) -> None:
        """Idempotent."""
        if self.readiness >= 0:
            os.close(self.readiness)
            self.readiness = -1

    def read_readiness(self) -> dict[str, str]:
        """{} = ready; else kind, message and hint of what keeps the engine from starting."""
        data = os.read(self.readiness, 1 << 16)
        self.forget_readiness()
        if data.strip() == b"ready":
            return {}
        try:
            return {str(key): str(value) for key, value in json.loads(data).items()}
        except (ValueError, AttributeError):
            return {"kind": "internal", "message": "the engine ended before it was ready", "hint": ""}


class Hold:
    """The lock for which the engine waits until its data are there."""

    def __init__(self) -> None:
        self._descriptor = os.open(HOLD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def release(self) -> None:
        """Idempotent."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)


def run_agent(port: int, control: socket.socket) -> None:
    from guest_agent.agent.main import run

    run(port, control.fileno(), CHANNEL)


def run_relay(port: int) -> None:
    from guest_agent.relay.main import run

    run(port, FILES)
