"""A VM machine is started: by the command line, which spawns its supervisor and says how far it is.

Cold: imported only when nobody answers at the machine's socket. Two command lines that come at once start one machine:
the starter holds a lock, and whoever gets it next looks at the socket first.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import sys
import time
from collections.abc import Callable

from guest_agent.wire.errors import HostFailed, HostvmError, InvalidArgument, Unavailable, error_of_record
from hostvm.client.connection import connect_unix
from hostvm.machines.connect import NOTE
from hostvm.machines.vm.durable import make_private_folder
from hostvm.machines.vm.names import check_name
from hostvm.machines.vm.paths import MachinePaths, VmPaths
from hostvm.settings import Settings

#: Seconds. The supervisor's own deadlines are shorter, and it says more.
_DEADLINE = 420.0
#: sun_path is 104 bytes on a Mac, 108 on Linux, the final zero included (unix(4), unix(7)).
_LONGEST_SOCKET = 103

Hear = Callable[[str], None]


def start(settings: Settings, hear: Hear) -> None:
    """Returns when the machine's engine answers. `hear` gets the stages. Raises what kept it from starting."""
    paths = vm_paths(settings)
    machine = paths.machine(check_name(settings.machine))
    check_socket_path(machine)
    make_private_folder(machine.run)
    deadline = time.monotonic() + _DEADLINE
    lock = _take_start_lock(machine, deadline)
    try:
        if not is_served(machine):
            if not os.path.exists(machine.state_record):  # what was saved had an image
                _make_image(paths, machine, settings.config, hear)
            _spawn(settings, machine, hear, deadline)
    finally:
        os.close(lock)


def vm_paths(settings: Settings) -> VmPaths:
    return VmPaths(settings.data, settings.run, settings.cache)


def _make_image(paths: VmPaths, machine: MachinePaths, config: str, hear: Hear) -> None:
    """The first start of all: there is no guest image yet. Whether one is whole is the supervisor's business."""
    from hostvm.machines.vm.host import host_facts
    from hostvm.machines.vm.store import find_spec

    facts = host_facts()
    spec = find_spec(machine, facts)
    arch = spec.arch if spec else facts.arch
    if not os.path.isdir(f"{paths.cache}/guest/{arch}"):
        from hostvm.machines.vm.building import HeardProgress, Workplace, ensure_image

        ensure_image(Workplace(paths.cache, config, os.environ), arch, HeardProgress(hear))


def is_served(machine: MachinePaths) -> bool:
    """Whether a supervisor accepts connections for the machine."""
    try:
        connect_unix(machine.engine_socket).close()
    except OSError:
        return False
    return True


def check_socket_path(machine: MachinePaths) -> None:
    """Raises InvalidArgument where the kernel wouldn't take the sockets' paths."""
    longest = f"{machine.control_socket}.new"
    if len(os.fsencode(longest)) > _LONGEST_SOCKET:
        raise InvalidArgument(
            f"the path of the machine's sockets is too long: {machine.control_socket}",
            "HOSTVM_RUN names a shorter folder, such as /tmp/hostvm-$USER; or give the machine a shorter name",
        )


def _checked(answer: dict[str, object]) -> dict[str, object]:
    error = answer.get("error")
    if isinstance(error, dict):
        raise error_of_record(error)
    return answer


def _take_start_lock(machine: MachinePaths, deadline: float) -> int:
    try:
        descriptor = os.open(machine.start_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostFailed(f"cannot use {machine.start_lock}: {error.strerror}") from error
    try:
        _lock(descriptor, deadline)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _lock(descriptor: int, deadline: float) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Unavailable("another hostvm is starting the machine and doesn't finish") from None
        time.sleep(0.02)


def plan_command(settings: Settings, ready: int) -> list[str]:
    """The supervisor's argv."""
    return [
        sys.executable, "-I", "-m", "hostvm.supervisor", settings.machine, "--data", settings.data,
        "--run", settings.run, "--cache", settings.cache, "--config", settings.config, "--ready-fd", str(ready),
    ]  # fmt: skip


def _spawn(settings: Settings, machine: MachinePaths, hear: Hear, deadline: float) -> None:
    reading, writing = os.pipe()
    try:
        os.set_inheritable(writing, True)
        pid = _start_process(plan_command(settings, writing), machine)
        os.close(writing)
        writing = -1
        _follow(reading, pid, machine, hear, deadline)
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


def _start_process(argv: list[str], machine: MachinePaths) -> int:
    """In a session of its own, so that the terminal's signals don't reach it. What it says before it has its log is
    written to the log as well."""
    make_private_folder(machine.folder)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, machine.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    try:
        return os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setsid=True)
    except NotImplementedError:  # a Python without setsid for posix_spawn
        import subprocess

        with open(machine.log, "ab") as log:
            ready = int(argv[-1])
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[ready], start_new_session=True
            ).pid


def _follow(reading: int, pid: int, machine: MachinePaths, hear: Hear, deadline: float) -> None:
    """Until the supervisor says that it is ready, or why not."""
    pending = b""
    while True:
        if not select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise Unavailable(f"the machine isn't ready after {_DEADLINE:.0f} seconds", f"see {machine.log}")
        data = os.read(reading, 1 << 16)
        if not data:
            raise _silent_end(pid, machine)
        *lines, pending = (pending + data).split(b"\n")
        if any(_take(line, hear) for line in lines):  # nothing follows it
            return


def _take(line: bytes, hear: Hear) -> bool:
    """Whether it is ready. Raises the error that the line holds."""
    message = _checked(json.loads(line))
    if "stage" in message:
        hear(str(message["stage"]))
    if "note" in message:
        hear(f"{NOTE}{message['note']}")
    return bool(message.get("ready"))


def _silent_end(pid: int, machine: MachinePaths) -> HostvmError:
    """A bug of the supervisor's, or kill -9: it ended without a word."""
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass
    try:
        with open(machine.log, "rb") as log:
            last = log.read()[-2000:].decode(errors="replace").strip().splitlines()[-1:]
    except OSError:
        last = []
    reason = f": {last[0]}" if last else ""
    return Unavailable(f"the machine's supervisor ended{reason}", f"its log is {machine.log}; start it again")
