"""QEMU as a process: started in a session of its own, known by pid and start time, its end heard of at once.

It outlives a supervisor that dies. Two things lead the next one to it: qemu.json, written right after the start, and a
lock that QEMU inherits, which says that one lives even where the supervisor died before it could write that down.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from guest_agent.wire.errors import HostFailed, HostvmError
from hostvm.machines.vm.durable import read_json, replace_json
from hostvm.machines.vm.host import start_time
from hostvm.machines.vm.launch import Launch
from hostvm.machines.vm.paths import MachinePaths
from hostvm.machines.vm.state import Identity, parse_identity


@dataclass(frozen=True, slots=True)
class QemuProcess:
    """A QEMU that was started for a machine."""

    pid: int
    started: str
    identity: Identity

    def is_alive(self) -> bool:
        return start_time(self.pid) == self.started != ""

    def send_signal(self, number: int) -> bool:
        """False where it has gone: another process may have its pid by now."""
        if not self.is_alive():
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> None:
        """At once; returns when it is gone (at most some seconds: a process in the kernel's hands can't die sooner)."""
        self.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 10
        while self.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        reap(self.pid)


def start_qemu(machine: MachinePaths, launch: Launch, log: int) -> QemuProcess:
    """Starts it, and writes down which it is. Raises HostFailed, Conflict where one runs already."""
    lock = _take_lock(machine.qemu_lock)
    for path in (machine.qmp_socket, machine.channel_socket, machine.share_socket):
        if os.path.exists(path):
            os.unlink(path)
    inherited = [descriptor for descriptor in (lock, launch.state) if descriptor >= 0]
    try:
        pid = _spawn(launch.argv, inherited, log)
    except OSError as error:
        raise HostFailed(f"QEMU can't be started: {launch.argv[0]}: {error.strerror}") from error
    finally:
        for descriptor in inherited:
            os.close(descriptor)
    process = QemuProcess(pid, start_time(pid), launch.identity)
    _record(machine, process)
    return process


def _spawn(argv: list[str], inherited: list[int], log: int) -> int:
    """Its standard streams are /dev/null and the log; it gets nothing else that isn't in `inherited`."""
    for descriptor in inherited:
        os.set_inheritable(descriptor, True)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, log, 1),
        (os.POSIX_SPAWN_DUP2, log, 2),
    ]
    try:
        return os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions, setsid=True)
    except NotImplementedError:  # a Python without setsid for posix_spawn
        import subprocess

        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=inherited, start_new_session=True
        ).pid


def _take_lock(path: str) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise HostFailed("a QEMU of this machine is still running", "its pid is in qemu.json") from None
    return descriptor


def have_qemu(machine: MachinePaths) -> bool:
    """Whether a QEMU of this machine lives, whoever started it."""
    try:
        os.close(_take_lock(machine.qemu_lock))
    except HostFailed:
        return True
    return False


def find_recorded(machine: MachinePaths) -> QemuProcess | None:
    """The QEMU of qemu.json, where that is alive."""
    try:
        document = read_json(machine.qemu_record)
        process = None if document is None else _parse(document)
    except (ValueError, OSError):
        return None
    return process if process is not None and process.is_alive() else None


def end_unrecorded(machine: MachinePaths) -> None:
    """Ends a QEMU of which nothing is known but that it lives: by who listens at its monitor.

    The supervisor died within the milliseconds between start and record. Raises HostFailed where it can't be found.
    """
    deadline = time.monotonic() + 5
    while have_qemu(machine):
        pid = peer_pid(machine.qmp_socket)
        if pid:
            os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise HostFailed(
                "a QEMU of this machine runs that doesn't answer", f"end it by hand: fuser -k {machine.qemu_lock}"
            )
        time.sleep(0.02)


def peer_pid(path: str) -> int:
    """Who listens at a unix socket; 0 where nobody does (unix(7), SO_PEERCRED; on a Mac LOCAL_PEERPID)."""
    import socket
    import struct

    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return 0
        if sys.platform == "linux":
            return int(struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
        return int(client.getsockopt(0, 2))


def open_exit(pid: int) -> int:
    """A descriptor that becomes readable when the process ends; a child of ours or not. Raises OSError where it has."""
    if sys.platform == "linux":
        return os.pidfd_open(pid)
    queue = select.kqueue()
    try:
        queue.control([select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)], 0)
        return os.dup(queue.fileno())
    finally:
        queue.close()


def reap(pid: int) -> str:
    """How a child of ours ended, as the rest of a sentence; "" for somebody else's."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return ""
    if not ended:
        return ""
    code = os.waitstatus_to_exitcode(status)
    return f"ended by signal {-code}" if code < 0 else f"ended with status {code}"


def _record(machine: MachinePaths, process: QemuProcess) -> None:
    from dataclasses import asdict

    try:
        replace_json(machine.qemu_record, asdict(process), durable=False)  # after a reboot it says nothing
    except HostvmError:
        process.kill()
        raise


def _parse(document: Mapping[str, object]) -> QemuProcess:
    pid, started, identity = document.get("pid"), document.get("started"), document.get("identity")
    if not isinstance(pid, int) or not isinstance(started, str) or not isinstance(identity, dict):
        raise ValueError("no record of a QEMU")
    return QemuProcess(pid, started, parse_identity(identity))
