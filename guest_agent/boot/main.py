"""PID 1: boots, starts what must run, then serves the host's control lines until it is told to power off.

One loop over one selector; what takes time (formatting a disk) is done in it on purpose, because nothing else may
happen meanwhile. It must never end: that would be a kernel panic.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable

from guest_agent.boot import disk, system
from guest_agent.boot.configuration import plan_config
from guest_agent.boot.control import ControlLines, Message
from guest_agent.boot.formats import register_formats
from guest_agent.boot.services import CONFIG, DATA, RUN, WARM, Hold, Keeper, Service, fork, run_agent, run_relay
from guest_agent.linux.power import power_off
from guest_agent.wire.errors import HostvmError, error_record

#: Seconds that the engine gets to stop its containers at a shutdown: docker's ten for each, all at once, and some more.
_SHUTDOWN_PATIENCE = 30.0
#: How often the loop looks whether the engine is warm; only until it is.
_WARM_POLL = 0.02

#: Everything that the interpreter and its children need and the kernel doesn't give.
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", "TMPDIR": "/tmp"}


class Init:
    """The guest's state: which processes run, and how far the engine is."""

    def __init__(self) -> None:
        self.stage = "kernel"
        self.engine = "held"
        self.failure: dict[str, str] = {}
        self._selector = selectors.DefaultSelector()
        self._keeper = Keeper()
        self._control: ControlLines | None = None
        self._hold: Hold | None = None
        self._services: list[Service] = []
        self._stopping = False
        wakeup = signal_pipe()
        self._selector.register(wakeup, selectors.EVENT_READ, lambda: drain(wakeup))

    def boot(self) -> None:
        """Everything up to the loop. The engine imports itself while another processor loads the kernel's modules."""
        system.mount_file_systems()
        system.link_devices()
        redirect_output()
        system.raise_limits()
        os.makedirs(RUN, 0o755, exist_ok=True)
        os.makedirs(os.path.dirname(CONFIG), exist_ok=True)
        system.write_file("/etc/resolv.conf", system.plan_resolv_conf([]))
        system.write_file(CONFIG, plan_config("", {}))
        self._hold = Hold()
        self._services = [
            Service("keeper", self._start_keeper),
            Service("agent", self._start_agent),
            Service("relay", self._start_relay),
        ]
        self._start_what_is_due()
        self._reach("modules")
        for trouble in (*system.load_modules(system.MODULES), *register_formats()):
            say(trouble)
        self._reach("network")
        system.start_network("hostvm")
        self._reach("services")

    def run(self) -> None:
        """For ever."""
        while True:
            self._reap()
            timeout = self._start_what_is_due()
            if self.stage == "services":
                self._look_whether_warm()
                timeout = _WARM_POLL
            for key, _events in self._selector.select(timeout):
                work: Callable[[], None] = key.data
                guarded(work)

    def _reach(self, stage: str) -> None:
        self.stage = stage
        milliseconds = int(time.monotonic() * 1000)
        say(f"{milliseconds} ms: {stage}")
        self._tell({"event": "stage", "stage": stage, "ms": milliseconds})

    def _look_whether_warm(self) -> None:
        if os.path.exists(WARM):
            self._reach("warm")
            self._tell({"event": "warm"})

    # -- processes

    def _start_what_is_due(self) -> float | None:
        if self._stopping:
            return None
        waits = [wait for service in self._services if (wait := service.start_if_due()) is not None]
        return min(waits, default=None)

    def _start_agent(self) -> int:
        if self._control is not None:
            self._selector.unregister(self._control)
            self._control.close()
        ours, theirs = socket.socketpair()
        self._control = ControlLines(ours)
        self._selector.register(self._control, selectors.EVENT_READ, self._serve_control)
        port = open_port("hostvm.channel")
        try:
            return fork(lambda: run_agent(port, theirs), "agent", (port, theirs.fileno()))
        finally:
            os.close(port)
            theirs.close()

    def _start_relay(self) -> int:
        port = open_port("hostvm.share")
        try:
            return fork(lambda: run_relay(port), "relay", (port,))
        finally:
            os.close(port)

    def _start_keeper(self) -> int:
        if self._keeper.readiness >= 0:
            self._selector.unregister(self._keeper.readiness)
        pid = self._keeper.start()
        self._selector.register(self._keeper.readiness, selectors.EVENT_READ, self._read_readiness)
        return pid

    def _read_readiness(self) -> None:
        self._selector.unregister(self._keeper.readiness)
        self.failure = self._keeper.read_readiness()
        if self.failure:
            self.engine = "failed"
            self._tell({"event": "engine-failed", **self.failure})
        else:
            self.engine = "ready"
            self._reach("engine")
            self._tell({"event": "ready"})

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for service in self._services:
                if service.pid == pid:
                    say(f"the {service.name} ended with status {status}")
                    service.ended()

    # -- what the host asks for

    def _tell(self, message: Message) -> None:
        if self._control is not None:
            self._control.send(message)

    def _serve_control(self) -> None:
        assert self._control is not None
        try:
            requests = self._control.receive()
        except EOFError:  # the agent has ended: its successor gets another pair
            self._selector.unregister(self._control)
            self._control.close()
            self._control = None
            return
        for request in requests:
            self._answer(request)

    def _answer(self, request: Message) -> None:
        handler = _OPERATIONS.get(str(request.get("op")))
        try:
            if handler is None:
                raise HostvmError(f"no operation {request.get('op')!r}")
            answer = handler(self, request)
        except HostvmError as error:
            answer = {"error": error_record(error)}
        except Exception as error:
            say(traceback.format_exc())
            answer = {"error": {"kind": "internal", "message": f"{type(error).__name__}: {error}", "hint": ""}}
        self._tell({"id": request.get("id"), **answer})

    def status(self, _request: Message) -> Message:
        return {"stage": self.stage, "engine": self.engine, **({"failure": self.failure} if self.failure else {})}

    def begin(self, request: Message) -> Message:
        """Opens the data disk and lets the engine go on. Once for each boot; again is no error."""
        self.set_time(request)
        if self.engine != "held":
            return self.status(request)
        if entropy := request.get("entropy"):
            system.mix_entropy(bytes.fromhex(str(entropy)))
        self._reach("disk")
        size = request.get("disk_size")
        done = disk.open_data_disk(disk.DEVICE, DATA, size if isinstance(size, int) else 0)
        self._configure(request)
        system.randomise_addresses()
        self.engine = "starting"
        environment = request.get("environment")
        if isinstance(environment, dict) and environment:
            self._restart_keeper({str(name): str(value) for name, value in environment.items()})
        assert self._hold is not None
        self._hold.release()
        return {"disk": done}

    def _configure(self, request: Message) -> None:
        config = request.get("config")
        name = str(request.get("hostname", ""))
        system.write_file(CONFIG, plan_config(name, config if isinstance(config, dict) else {}))
        self.set_resolver(request)
        if hostname := request.get("hostname"):
            system.write_file("/proc/sys/kernel/hostname", str(hostname))

    def _restart_keeper(self, environment: dict[str, str]) -> None:
        """The engine that waits has read its environment already."""
        self._keeper.environment = environment
        self._selector.unregister(self._keeper.readiness)
        self._keeper.forget_readiness()
        for service in self._services:
            if service.name == "keeper" and service.pid:
                os.kill(service.pid, signal.SIGKILL)

    def set_resolver(self, request: Message) -> Message:
        search = request.get("search")
        names = [str(name) for name in search] if isinstance(search, list) else []
        system.write_file("/etc/resolv.conf", system.plan_resolv_conf(names))
        return {}

    def get_time(self, _request: Message) -> Message:
        return {"time_ns": time.time_ns()}

    def set_time(self, request: Message) -> Message:
        nanoseconds = request.get("time_ns")
        if isinstance(nanoseconds, int):
            time.clock_settime_ns(time.CLOCK_REALTIME, nanoseconds)
        return {}

    def shutdown(self, _request: Message) -> Message:
        """Containers get their stop signals; then the disk is closed and the machine turned off."""
        self._stopping = True
        self._end_keeper()
        disk.close_data_disk(DATA)
        self._tell({"event": "shutdown-done"})
        time.sleep(0.05)  # the agent still has to pass that on
        power_off()
        return {}

    def _end_keeper(self) -> None:
        pid = next((service.pid for service in self._services if service.name == "keeper"), 0)
        if not pid or self.engine == "held":
            return
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _SHUTDOWN_PATIENCE
        while time.monotonic() < deadline:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
            time.sleep(0.02)
        say("the engine didn't stop in time")

    def stats(self, _request: Message) -> Message:
        """Bytes and numbers as the kernel gives them."""
        with open("/proc/meminfo", encoding="ascii") as file:
            memory = {line.split(":")[0]: int(line.split()[1]) << 10 for line in file}
        space = os.statvfs(DATA)
        return {
            "memory_total": memory.get("MemTotal", 0), "memory_available": memory.get("MemAvailable", 0),
            "disk_total": space.f_blocks * space.f_frsize, "disk_free": space.f_bavail * space.f_frsize,
        }  # fmt: skip


_OPERATIONS: dict[str, Callable[[Init, Message], Message]] = {
    "status": Init.status,
    "begin": Init.begin,
    "resolver": Init.set_resolver,
    "time": Init.get_time,
    "set-time": Init.set_time,
    "shutdown": Init.shutdown,
    "stats": Init.stats,
}


def guarded(work: Callable[[], None]) -> None:
    """Nothing may end PID 1."""
    try:
        work()
    except Exception:
        say(traceback.format_exc())


def open_port(name: str) -> int:
    """The port's descriptor, non-blocking. Raises OSError where QEMU was given none of that name."""
    path = system.find_port(name)
    if path is None:
        raise OSError(f"there is no virtio-serial port {name}")
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def signal_pipe() -> int:
    """Becomes readable at SIGCHLD."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return reading


def drain(descriptor: int) -> None:
    os.read(descriptor, 4096)


def say(text: str) -> None:
    """Into the guest's log."""
    print(f"init: {text}", file=sys.stderr, flush=True)


def redirect_output() -> None:
    """Init and all that it starts write into the host's log file; the port can be opened only once, so it is inherited.

    Without the port (a kernel started by hand) the console has it.
    """
    path = system.find_port("hostvm.log")
    if path is None:
        return
    log = os.open(path, os.O_WRONLY)
    for standard in (1, 2):
        os.dup2(log, standard)
    if log > 2:
        os.close(log)


def main() -> None:
    os.environ.clear()
    os.environ.update(_ENVIRONMENT)
    os.umask(0o022)
    init = Init()
    system.leave_initial_root()
    try:
        init.boot()
    except Exception:
        say(traceback.format_exc())  # on the console: the host shows its last lines
    init.run()
