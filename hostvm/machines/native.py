"""The engine on this very host: started on first use, by root.

Cold: imported only when nobody answers at the socket. Two command lines that come at once start one engine: the
starter holds a lock, and whoever gets it next looks at the socket first.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from guest_agent.wire.errors import Forbidden, HostFailed, HostvmError, Unavailable, error_from
from hostvm.client.connection import connect_unix
from hostvm.settings import Settings

#: Seconds for an engine to come up. It takes 0.3 on an idle machine; a start-up that has hundreds of containers to
#: reconcile on a busy disk takes longer.
START_DEADLINE = 60.0


def start(settings: Settings) -> None:
    """Returns when an engine answers at the socket. Raises Forbidden, Unavailable, or what the engine says."""
    if os.geteuid() != 0:
        raise Forbidden(
            "the hostvm engine isn't running, and only root can start it",
            "start it with: sudo hostvm machine start (at every boot: `hostvm machine unit`)",
        )
    deadline = time.monotonic() + START_DEADLINE
    with _start_lock(settings.run, deadline):
        if not is_running(settings):
            _spawn(settings, deadline)


def is_running(settings: Settings) -> bool:
    """Whether somebody accepts connections at the socket."""
    try:
        connect_unix(settings.socket).close()
    except OSError:
        return False
    return True


def wait_stopped(settings: Settings, deadline: float) -> bool:
    """Waits until nobody accepts connections any more; False when the deadline (time.monotonic) passes first."""
    while is_running(settings):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@contextmanager
def _start_lock(run: str, deadline: float) -> Iterator[None]:
    try:
        os.makedirs(run, 0o755, exist_ok=True)
        descriptor = os.open(f"{run}/start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostFailed(f"cannot use the folder {run}: {error.strerror}", "HOSTVM_RUN names another one") from error
    try:
        _lock(descriptor, deadline)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, deadline: float) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Unavailable("another hostvm is starting the engine and doesn't finish") from None
        time.sleep(0.02)


def start_command(settings: Settings, ready: int) -> list[str]:
    """The argv that brings up keeper and engine."""
    return [
        sys.executable, "-I", "-m", "guest_agent", "serve",
        "--data", settings.data, "--run", settings.run, "--config", settings.config, "--ready-fd", str(ready),
    ]  # fmt: skip


def systemd_unit(settings: Settings) -> str:
    """hostvm.service for this installation; the keeper is the unit's main process."""
    with open(os.path.join(os.path.dirname(__file__), "hostvm.service"), encoding="utf-8") as template:
        return template.read().replace("{command}", shlex.join(start_command(settings, ready=1)))


def _spawn(settings: Settings, deadline: float) -> None:
    reading, writing = os.pipe()
    try:
        with tempfile.TemporaryFile() as talk:
            process = subprocess.Popen(
                start_command(settings, writing), stdin=subprocess.DEVNULL, stdout=talk, stderr=talk, cwd="/",
                pass_fds=[writing], start_new_session=True,
            )  # fmt: skip
            os.close(writing)
            writing = -1
            line = _read_line(reading, deadline)
            if line != "ready":
                raise _start_failure(line, process, talk.fileno())
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


def _read_line(descriptor: int, deadline: float) -> str | None:
    """The engine's answer; "" when it ended without one, None when the deadline passed."""
    data = b""
    while not data.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            return None
        chunk = os.read(descriptor, 4096)
        if not chunk:
            break
        data += chunk
    return data.decode(errors="replace").strip()


def _start_failure(line: str | None, process: subprocess.Popen[bytes], talk: int) -> HostvmError:
    if line is None:
        process.kill()
        return Unavailable(f"the hostvm engine isn't ready after {START_DEADLINE:.0f} seconds", "see `hostvm doctor`")
    try:
        fields = json.loads(line)
        return error_from(str(fields["kind"]), str(fields["message"]), str(fields.get("hint", "")))
    except (ValueError, KeyError, TypeError):
        last = os.pread(talk, 1 << 16, 0).decode(errors="replace").strip().splitlines()[-1:]
        reason = f": {last[0]}" if last else ""
        return Unavailable(f"the hostvm engine could not be started{reason}", "see `hostvm doctor`")
