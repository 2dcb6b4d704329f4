"""The supervisor at work: sockets, clock, idleness, signals, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from guest_agent.wire.errors import Conflict, HostvmError, InvalidArgument
from hostvm.machines.vm.host import host_facts
from hostvm.machines.vm.launch import Launch
from hostvm.machines.vm.paths import VmPaths
from hostvm.machines.vm.spec import MachineSpec
from hostvm.machines.vm.store import find_spec
from hostvm.supervisor.clock import GuestClock
from hostvm.supervisor.commands import run_command
from hostvm.supervisor.control import Control, Message, Operation, send_line
from hostvm.supervisor.gate import Gate, listen_unix
from hostvm.supervisor.journal import say
from hostvm.supervisor.lifecycle import State
from hostvm.supervisor.machine import Machine
from hostvm.supervisor.process import QemuProcess
from hostvm.supervisor.report import Report
from hostvm.supervisor.resolver import GuestResolver
from hostvm.supervisor.saving import make_durable

#: How often an idle machine is looked at.
_IDLE_LOOK = 5.0


class Supervisor:
    """One machine, from the supervisor's start to its end."""

    def __init__(self, paths: VmPaths, spec: MachineSpec, config: str, log: int, release: Callable[[], None]) -> None:
        self.machine = Machine(paths, spec, config, log)
        self._release = release
        self._ending: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._streams = 0  #: streams and commands of control.sock that are open
        self._answers: list[tuple[socket.socket, Message]] = []
        files = self.machine.files
        self._gate = Gate(self.machine)
        self._control_listener = listen_unix(files.control_socket)
        self._clock = GuestClock(self.machine.contact.guest.clock_offset, self.machine.contact.guest.set_time)
        self._resolver = GuestResolver(self.machine.contact.guest.set_search)
        self._tasks: list[asyncio.Task[None]] = []

    async def run(
        self, launched: tuple[Launch, QemuProcess] | None, adopted: QemuProcess | None, report: Report
    ) -> int:
        """Until the machine is stopped; the exit code."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._end, "save")
        loop.add_signal_handler(signal.SIGINT, self._end, "save")
        self.machine.report, self.machine.tell = report.stage, report.note
        control = Control(self._control_listener, self._operations())
        self._gate.come_back()
        self._tasks = [asyncio.ensure_future(control.serve())]
        try:
            await self._start(launched, adopted)
        except HostvmError as error:
            await self._close()  # first: who hears of it may try again at once
            report.failed(error)
            return 1
        report.ready()
        self.machine.report = self.machine.tell = lambda _text: None
        self._tasks += [
            asyncio.ensure_future(self._clock.keep(self._is_running)),
            asyncio.ensure_future(self._resolver.keep(self._is_running)),
            asyncio.ensure_future(self._watch_idleness()),
        ]
        await self._ending
        await self._finish()
        return 0

    def _is_running(self) -> bool:
        return self.machine.state is State.RUNNING

    async def _start(self, launched: tuple[Launch, QemuProcess] | None, adopted: QemuProcess | None) -> None:
        if adopted is not None:
            try:
                return await self.machine.adopt(adopted)
            except HostvmError as error:
                say(f"can't take over QEMU {adopted.pid}: {error.message}")
                await self.machine.abandon()
        await asyncio.shield(self.machine.start(launched))
        return None

    # -- control

    def _operations(self) -> dict[str, Operation]:
        return {
            "status": self._status, "start": self._ensure, "stop": self._stop, "reload": self._reload,
            "stream": self._stream, "command": self._command, "stats": self._stats,
        }  # fmt: skip

    async def _status(self, _request: Message, _client: socket.socket) -> Message:
        machine = self.machine
        life = machine.life
        return {
            "name": machine.spec.name, "state": str(machine.state), "stage": machine.stage, "way": str(machine.way),
            "note": machine.note, "seconds": round(time.monotonic() - machine.since, 3), "pid": os.getpid(),
            "qemu": life.process.pid if life else 0, "connections": self._gate.busy,
            "ports": machine.bridges.describe_ports(),
            "accelerator": life.process.identity.accelerator if life else "",
        }  # fmt: skip

    async def _ensure(self, _request: Message, _client: socket.socket) -> Message:
        await self.machine.ensure_running()
        return {"state": str(self.machine.state), "way": str(self.machine.way), "note": self.machine.note}

    async def _stop(self, request: Message, client: socket.socket) -> Message | None:
        """Answered when everything of the machine is gone, this supervisor's sockets too.

        Only a suspended machine with published ports keeps its supervisor, which holds them and wakes it.
        """
        mode = str(request.get("mode", "save"))
        if mode not in ("save", "shutdown", "kill"):
            raise InvalidArgument(f"unknown way to stop: {mode!r}")
        if self._ending.done():
            raise Conflict("the machine is being stopped already")
        if mode != "kill":
            await self.machine.settle()  # what is under way comes first, and may be all that is asked for
        if mode == "save" and self.machine.bridges.describe_ports():
            await self._halt(mode)
            self._keep_durable()
            return {"state": str(self.machine.state)}
        await self._halt_for_good(mode)
        self._answers.append((client, {"state": str(self.machine.state)}))
        self._end("")
        return None

    async def _halt_for_good(self, mode: str) -> None:
        """Whoever comes from here on finds no socket, starts another supervisor, and that waits for our end."""
        if self.machine.state is State.STARTING or (mode == "shutdown" and self.machine.state is State.SUSPENDED):
            await self.machine.ensure_running()  # containers get their stop signals, and a state is saved whole
        self._retire()
        try:
            await self._halt(mode)
        except HostvmError:
            self.machine.is_retired = False
            self._gate.come_back()
            raise
        self._retire()  # a save that this one has cut off has undone it

    def _retire(self) -> None:
        self._gate.leave()
        self.machine.is_retired = True

    async def _halt(self, mode: str) -> None:
        """Raises HostvmError, and the machine runs on, where its state can't be saved."""
        machine = self.machine
        if mode == "kill":
            return await machine.kill()
        if mode == "shutdown":
            return await machine.shutdown()
        if machine.state is State.RUNNING:
            await machine.save()
        return None

    async def _reload(self, _request: Message, _client: socket.socket) -> Message:
        spec = find_spec(self.machine.files, host_facts())
        if spec is None:
            raise Conflict("the machine has been removed")
        return {"restart": await self.machine.reload(spec)}

    async def _stream(self, request: Message, client: socket.socket) -> None:
        """The connection becomes a stream of the channel."""
        with self._in_use():
            await self.machine.ensure_running()
            stream = await self.machine.contact.channel.open(_service(request))
            await send_line(client, {})
            await self.machine.contact.channel.relay(stream, client)

    async def _command(self, request: Message, client: socket.socket) -> None:
        with self._in_use():
            await self.machine.ensure_running()
            await run_command(self.machine.contact.channel, request, client)

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """A shell or a command in the guest: as long as it is there, the machine isn't idle."""
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1
            self.machine.touch()

    async def _stats(self, _request: Message, _client: socket.socket) -> Message:
        return await self.machine.contact.guest.ask("stats")

    # -- idleness

    async def _watch_idleness(self) -> None:
        while True:
            await asyncio.sleep(_IDLE_LOOK)
            machine = self.machine
            limit = machine.spec.idle_seconds
            if not limit or machine.state is not State.RUNNING or self._is_used():
                machine.touch()
                continue
            if time.monotonic() - machine.last_used >= limit:
                await self._suspend()

    def _is_used(self) -> bool:
        return bool(self._gate.busy or self._streams or self.machine.bridges.connections)

    async def _suspend(self) -> None:
        """The sockets stay, and wake it."""
        say("idle: suspending")
        try:
            await self.machine.save()
        except HostvmError as error:
            say(f"can't suspend: {error.message}")
            self.machine.touch()
            return
        self._keep_durable()

    def _keep_durable(self) -> None:
        """The memory goes to the disk while nobody waits for it."""
        work = asyncio.to_thread(make_durable, self.machine.files, self.machine.saved_id)
        self._tasks.append(asyncio.ensure_future(work))

    # -- the end

    def _end(self, mode: str) -> None:
        """`mode`: how the machine is stopped first; "" = it is already."""
        if not self._ending.done():
            self._ending.set_result(mode)

    async def _finish(self) -> None:
        if mode := self._ending.result():
            await self._halt_somehow(mode)
        await self._close()
        if self.machine.state is State.SUSPENDED and self.machine.saved_id:
            await asyncio.to_thread(make_durable, self.machine.files, self.machine.saved_id)

    async def _halt_somehow(self, mode: str) -> None:
        """Gentler ways first; whatever comes of them, no QEMU is left behind."""
        await self.machine.settle()
        for way in (mode, "shutdown", "kill"):
            try:
                return await self._halt_for_good(way)
            except HostvmError as error:
                say(f"can't stop the machine ({way}): {error.message}")
        return None

    async def _close(self) -> None:
        """The next supervisor may begin when this returns; then those who asked for the stop are answered."""
        self._gate.leave()
        os.unlink(self.machine.files.control_socket)
        for task in self._tasks:
            task.cancel()
        self._control_listener.close()
        self.machine.bridges.close()
        await self._gate.close()
        self._release()
        for client, answer in self._answers:
            await send_line(client, answer)
            client.close()


def _service(request: Message) -> dict[str, object]:
    service = request.get("request")
    if not isinstance(service, dict) or service.get("to") in (None, "control"):
        raise InvalidArgument("no service is named")
    return service


async def supervise(
    paths: VmPaths,
    spec: MachineSpec,
    config: str,
    launched: tuple[Launch, QemuProcess] | None,
    adopted: QemuProcess | None,
    report: Report,
    release: Callable[[], None],
) -> int:
    """The whole life of a supervisor. `release` lets go of its lock."""
    return await Supervisor(paths, spec, config, 2, release).run(launched, adopted, report)
