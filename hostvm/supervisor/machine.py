"""The machine: brought up in whatever way is quickest, kept, saved, shut down; whatever happens to its QEMU.

One task at a time changes its state. A start is single: whoever needs the machine waits for the same one. A QEMU that
ends unasked leaves the state `crashed`, and the next who needs the machine starts it again.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import replace

from guest_agent.wire.errors import HostvmError, Unavailable
from hostvm.machines.vm.durable import set_aside
from hostvm.machines.vm.launch import (
    Launch,
    Way,
    diagnose_boot,
    forget_record,
    forget_saved_state,
    forget_template,
    grow_disk,
    prepare,
)
from hostvm.machines.vm.paths import VmPaths
from hostvm.machines.vm.spec import MachineSpec
from hostvm.supervisor.arrival import Arrival
from hostvm.supervisor.background import Background
from hostvm.supervisor.bridges import Bridges
from hostvm.supervisor.contact import RESUME_DEADLINE, Contact
from hostvm.supervisor.journal import explain_boot, has_panicked, qemu_words, say, with_console
from hostvm.supervisor.life import Life
from hostvm.supervisor.lifecycle import Event, State, step
from hostvm.supervisor.process import QemuProcess, start_qemu
from hostvm.supervisor.saving import SAVE_DEADLINE, explain_unsaved, record_state

#: Seconds for the guest to stop its containers and unmount: init gives the engine 30.
_SHUTDOWN_DEADLINE = 60.0
#: Seconds after which the bridges are looked after: importing them takes 40 ms, and somebody waits for an answer.
_BRIDGES_DELAY = 0.1


class Machine:
    """`report` hears of the stages of a start, `tell` of what the user should know; only while there is one."""

    def __init__(self, paths: VmPaths, spec: MachineSpec, config: str, log: int) -> None:
        self.paths = paths
        self.files = paths.machine(spec.name)
        self.spec = spec
        self.state = State.STOPPED
        self.stage = ""
        self.note = ""  #: why the last start was no resume, or how the last life ended
        self.way = Way.BOOT
        self.is_retired = False  #: it is being stopped for good, and isn't started again by this supervisor
        self.since = time.monotonic()
        self.last_used = time.monotonic()
        self.report: Callable[[str], None] = lambda _stage: None
        self.tell: Callable[[str], None] = lambda _note: None
        self.contact = Contact(self.files.channel_socket, spec.name, self._reach, self._connected)
        self.bridges = Bridges(self.contact.channel, self.files, spec, self._wake)
        self.saved_id = ""  #: of a state that isn't known to be on the disk yet
        self.life: Life | None = None
        self._log = log
        self._start: asyncio.Task[None] | None = None
        self._background = Background()
        self._ending = asyncio.Lock()  #: held by whoever ends a life
        self._moved = asyncio.Event()  #: set at the next change of state, then replaced
        self._arrival = Arrival(paths, spec.name, config, self.contact, self.bridges, self._background, self._reach)

    # -- state

    def _step(self, event: Event) -> None:
        before, self.state = self.state, step(self.state, event)
        self.since = time.monotonic()
        self._moved.set()
        self._moved = asyncio.Event()
        say(f"{before} -> {self.state} ({event})")

    async def settle(self) -> None:
        """Returns when nobody saves or ends the machine any more."""
        while self.state in (State.SAVING, State.STOPPING):
            await self._moved.wait()

    def _reach(self, stage: str) -> None:
        self.stage = stage
        self.report(stage)

    def touch(self) -> None:
        """Somebody uses the machine: it isn't idle."""
        self.last_used = time.monotonic()

    # -- start

    async def ensure_running(self) -> None:
        """Returns when the engine answers. Starts, resumes or restarts the machine as needed. Raises HostvmError."""
        self.touch()
        while self.state is not State.RUNNING or (self.life is not None and self.life.look()):
            if self.is_retired:
                raise Unavailable("the machine is being stopped", "try again: it is started anew")
            if self.state in (State.SAVING, State.STOPPING, State.RUNNING):
                await self._moved.wait()
            elif self._start is None:
                self.start(None)
            if self._start is not None:
                await asyncio.shield(self._start)

    def start(self, launched: tuple[Launch, QemuProcess] | None) -> asyncio.Task[None]:
        """Begins the one start. `launched`: QEMU runs already, started before anything heavy was imported."""
        self._step(Event.START)
        self._start = asyncio.ensure_future(self._run_start(launched))
        self._start.add_done_callback(self._forget_start)
        return self._start

    def _run(self) -> None:
        self._step(Event.READY)
        self._background.spawn(self._watch_end())
        asyncio.get_running_loop().call_later(_BRIDGES_DELAY, self._open_bridges)

    def _open_bridges(self) -> None:
        if self.state is State.RUNNING:
            self.bridges.open()

    def _wake(self) -> None:
        """Somebody came to a port of ours while the machine was suspended."""
        self.touch()
        if self.state is State.SUSPENDED:
            self.start(None)

    def _connected(self) -> None:
        """The agent has come back by itself."""
        if self.state is State.RUNNING:
            self._background.spawn(self.contact.renew())

    def _forget_start(self, task: asyncio.Task[None]) -> None:
        self._start = None
        if not task.cancelled():
            task.exception()  # whoever waits has it; nobody need

    async def _run_start(self, launched: tuple[Launch, QemuProcess] | None) -> None:
        try:
            launch, process = launched if launched is not None else await asyncio.to_thread(self._launch)
            try:
                await self._bring_up(launch, process)
            except HostvmError as error:
                if launch.way is Way.BOOT and not has_panicked(self.files.console):
                    await self._diagnose(launch)
                    raise
                await self._boot_instead(launch, error)
        except HostvmError as error:
            await self._give_up(error)
            raise
        self._run()

    def _launch(self) -> tuple[Launch, QemuProcess]:
        launch = prepare(self.paths, self.spec, os.environ, self._reach)
        return launch, start_qemu(self.files, launch, self._log)

    async def _boot_instead(self, launch: Launch, error: HostvmError) -> None:
        """A state that doesn't come to life isn't tried again; a kernel that panicked is, once: TCG's may by chance."""
        words = qemu_words(self.files.log) or error.message
        await self._end_life()
        if launch.way is Way.TEMPLATE:
            forget_template(self.paths, launch.identity)
        elif os.path.exists(self.files.state):
            set_aside(self.files.state)
        fresh, process = await asyncio.to_thread(self._launch)
        note = f"the {launch.way} state was not resumed: {words}"
        if launch.way is Way.BOOT:
            note = f"the guest's kernel panicked and was booted again: {self.files.console}.1 has its words"
        try:
            await self._bring_up(replace(fresh, note=note), process)
        except HostvmError:
            if launch.way is Way.BOOT:
                await self._diagnose(fresh)
            raise

    async def _diagnose(self, launch: Launch) -> None:
        """Raises what is wrong with that from which it was booted."""
        await asyncio.to_thread(diagnose_boot, self.paths, self.spec.arch, launch)

    async def _give_up(self, error: HostvmError) -> None:
        say(f"the start failed: {error.message}")
        self.note = error.message
        await self._end_life()
        if self.state is State.STARTING:
            self._step(Event.ENDED)

    async def _bring_up(self, launch: Launch, process: QemuProcess) -> None:
        self.way, self.note = launch.way, launch.note
        self.stage = "booting" if launch.way is Way.BOOT else "resuming"
        if launch.note:
            say(launch.note)
            self.tell(launch.note)
        self.life = life = Life(process, launch.way)
        self.contact.readiness.begin()
        try:
            await life.begin(self.files.qmp_socket)
            if launch.state >= 0:
                self._reach("resuming")
                await life.during(life.monitor.load(launch.state, RESUME_DEADLINE))
                forget_saved_state(self.files)
            await life.during(self._arrival.reach_engine(life))
        except TimeoutError:
            raise Unavailable("QEMU didn't load the state in time") from None
        except HostvmError as error:
            if launch.way is Way.BOOT and self.contact.readiness.failure is None:
                explain_boot(error, self.stage, self.files, self.spec.name)
            raise

    # -- adoption

    async def adopt(self, process: QemuProcess) -> None:
        """Takes over the QEMU of a supervisor that died. Raises HostvmError: then it must be ended."""
        self._step(Event.START)
        self.way = Way.ADOPTED
        self.life = life = Life(process, Way.ADOPTED)
        await life.begin(self.files.qmp_socket)
        status = await life.monitor.status()
        if status in ("paused", "postmigrate"):  # in the middle of a save that nobody finished
            forget_record(self.files)
            await life.monitor.resume()
        elif status != "running":
            raise Unavailable(f"QEMU is {status}")
        await life.during(self._arrival.reach_engine(life))
        self._run()

    async def abandon(self) -> None:
        """Ends what could not be adopted."""
        await self._give_up(Unavailable("the running QEMU could not be taken over"))

    # -- the end of a life

    async def _watch_end(self) -> None:
        """A QEMU that ends unasked is a crash. In the midst of a save, what comes of that is waited for."""
        life = self.life
        assert life is not None
        await life.gone.wait()
        while self.life is life and self.state is State.SAVING:
            await self._moved.wait()
        if self.life is not life or self.state is not State.RUNNING:
            return
        self.note = with_console(f"QEMU {life.how} while the machine ran", self.files.console)
        say(self.note)
        await self._end_life()
        if self.state is State.RUNNING:
            self._step(Event.ENDED)

    async def _end_life(self, *, is_saved: bool = False) -> None:
        """No QEMU is left when this returns. `ENDED` is stepped after that: it would close the next life's contact.

        `life` is kept as long, so that whoever needs the machine sees that it has ended, and waits.
        """
        async with self._ending:
            life = self.life
            self.contact.guest.detach()
            if not is_saved:
                await self.bridges.abandon()
            await self.contact.close()
            if life is not None:
                await life.end()
            self.life = None

    # -- settings

    async def reload(self, spec: MachineSpec) -> bool:
        """Takes what can change while it runs; whether the rest needs a restart."""
        self.bridges.change(spec)
        before, self.spec = self.spec, spec
        if self.state is State.RUNNING and self.life is not None and spec.disk > before.disk:
            size = spec.disk << 30
            await asyncio.to_thread(grow_disk, self.files.disk, size)
            await self.life.monitor.resize_disk(size)
        return (before.cpus, before.memory) != (spec.cpus, spec.memory)

    # -- stop

    async def save(self) -> None:
        """Suspends: the state is on the disk and QEMU gone. Raises HostvmError; then the machine runs on."""
        self._step(Event.SAVE)
        life = self.life
        assert life is not None
        try:
            await life.during(self._save(life))
            # Before QEMU ends: whoever kills us in between leaves one of the two, and mostly both.
            self.saved_id = await asyncio.to_thread(record_state, self.files, life.process.identity)
        except (HostvmError, OSError) as error:
            await self._continue(life)
            raise explain_unsaved(error) from error
        await self._end_life(is_saved=True)
        self._step(Event.SAVED)

    async def _save(self, life: Life) -> None:
        self.contact.guest.detach()
        await self.bridges.suspend()
        await self.contact.freeze()
        await life.monitor.save(self.files.state, SAVE_DEADLINE)

    async def _continue(self, life: Life) -> None:
        """After a save that failed. A QEMU that has ended meanwhile, or doesn't go on, is a crash."""
        try:
            await life.during(life.monitor.run_on())
        except HostvmError as error:
            self.note = f"QEMU didn't go on after a save that failed: {error.message}"
            say(self.note)
            await self._end_life()
            self._step(Event.ENDED)
            return
        await self._thaw(life)
        self._step(Event.NOT_SAVED)
        self.bridges.open()

    async def _thaw(self, life: Life) -> None:
        """A guest that doesn't answer yet is no reason to end it: its agent may come back by itself."""
        try:
            await life.during(self.contact.thaw())
        except HostvmError as error:
            say(f"the guest doesn't answer after a save that failed: {error.message}")
            self._background.spawn(self.contact.renew())  # it may have come back just now, while nobody heeded it

    async def shutdown(self) -> None:
        """Containers are stopped, file systems unmounted, QEMU gone. What doesn't answer is ended."""
        self._step(Event.SHUTDOWN)
        life = self.life
        if life is not None:
            try:
                await self.contact.guest.ask("shutdown", timeout=_SHUTDOWN_DEADLINE)
            except HostvmError:
                pass  # it has ended before it answered, or it never will
            if not await life.wait_gone(_SHUTDOWN_DEADLINE if self.contact.channel.is_up else 1):
                say("the guest didn't shut down in time")
        await self.kill()

    async def kill(self) -> None:
        """As if the power were cut, in any state. A save that is under way fails by it, unless it is over."""
        if self.state is State.SAVING and self.life is not None:
            await asyncio.to_thread(self.life.process.kill)
            await self.settle()
        if self.state is State.SUSPENDED:
            return
        if self._start is not None:
            self._start.cancel()
        if self.state is not State.STOPPING:
            self._step(Event.SHUTDOWN)
        await self._end_life()
        if self.state is State.STOPPING:
            self._step(Event.ENDED)
