"""More processes in a running container. They live in memory only: an exec doesn't outlive the engine's knowledge."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from dataclasses import dataclass

from guest_agent.engine.attachment import Attachment, wanted_streams
from guest_agent.engine.background import BackgroundTasks
from guest_agent.engine.bundle import find_hostname
from guest_agent.engine.container import Container, Status
from guest_agent.engine.descriptors import PipeSource
from guest_agent.engine.detach import parse_detach_keys
from guest_agent.engine.folder_changes import FolderChanges
from guest_agent.engine.lifecycle import Step, next_status
from guest_agent.engine.links import link_variables
from guest_agent.engine.live import Run
from guest_agent.engine.naming import new_id
from guest_agent.engine.output import STDERR, STDOUT
from guest_agent.engine.parts import Parts
from guest_agent.engine.requests import AttachRequest, ExecRequest
from guest_agent.engine.stdio import Stdio, make_pipes, terminal_stdio
from guest_agent.runtime.console import ConsoleSocket
from guest_agent.runtime.crun import exec_pid
from guest_agent.runtime.environment import plan_environment
from guest_agent.runtime.executables import check_command, check_working_dir
from guest_agent.runtime.spec import plan_exec_process
from guest_agent.runtime.users import resolve_user
from guest_agent.wire.errors import Conflict, HostvmError, InvalidArgument, NotFound
from guest_agent.wire.models import ContainerId

_CONSOLE_TIMEOUT = 30.0
#: The runtime takes 10 to 20 ms to the command's start.
_PID_TIMEOUT = 10.0
#: What can't be started, for whatever reason (moby 26, daemon/exec.go).
_NOT_STARTED = 126

#: Execs that don't run and are remembered for `exec inspect`; docker collects them after five minutes.
_REMEMBERED = 512


@dataclass(slots=True)
class Exec:
    """One command in a container."""

    id: str
    container_id: ContainerId
    request: ExecRequest
    run: Run
    since_ns: int  #: the start of the container's run that it belongs to
    running: bool = False
    exit_code: int | None = None
    folder: str = ""
    started: bool = False
    last_pid: int = 0

    @property
    def pid(self) -> int:
        """The command's own, as the host numbers it, also when it has ended; 0 before it runs."""
        return self.last_pid or exec_pid(self.folder)


class Execs:
    """The exec verbs of the engine."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._execs: dict[str, Exec] = {}
        self._changes = FolderChanges()

    def create(self, request: ExecRequest) -> str:
        """The new exec's id. Raises Conflict where the container doesn't run."""
        container = self._parts.table.find(request.container)
        _check_detach_keys(request.detach_keys)
        _check_active(container, request.container)
        if not request.command:
            raise InvalidArgument("No exec command specified")
        identity = new_id()
        log = self._parts.table.live(container.id).log
        self._execs[identity] = Exec(identity, container.id, request, Run(log), container.state.started_ns)
        self._forget_old()
        self._parts.tell(container, f"exec_create: {_shown(request)}", execID=identity)
        return identity

    def find(self, exec_id: str) -> Exec:
        """Raises NotFound, also where its container has been removed."""
        found = self._execs.get(exec_id)
        if found is None or self._parts.table.get(found.container_id) is None:
            raise _unknown(exec_id)
        return found

    def for_container(self, container_id: str) -> tuple[str, ...]:
        """Ids of those that run."""
        return tuple(one.id for one in self._execs.values() if one.container_id == container_id and one.running)

    def resize(self, exec_id: str, rows: int, columns: int) -> None:
        """Tell its terminal. Raises NotFound also for one that has ended."""
        one = self.find(exec_id)
        if one.exit_code is not None:
            raise NotFound("no such exec")
        one.run.stdio.resize(rows, columns)

    def kill(self, exec_id: str) -> None:
        """SIGKILL to the command and its process group; nothing where it doesn't run.

        The runtime has made a session for it, in a process of its own: the group's number isn't the command's pid.
        """
        one = self.find(exec_id)
        pid = one.pid if one.running else 0
        with contextlib.suppress(ProcessLookupError):
            if pid and (group := os.getpgid(pid)) != os.getpgid(0):
                os.killpg(group, signal.SIGKILL)

    def forget(self, exec_id: str) -> None:
        """Its maker has seen what came of it; idempotent."""
        self._execs.pop(exec_id, None)

    def find_active(self, exec_id: str) -> Exec:
        """Whether it was started doesn't matter. Raises NotFound, also where its container has ended since."""
        one = self.find(exec_id)
        container = self._parts.table.find(one.container_id)
        if container.state.started_ns != one.since_ns or container.state.status is Status.EXITED:
            raise _unknown(exec_id)
        _check_active(container, container.id)
        return one

    async def start(self, exec_id: str, detach: bool, console_size: tuple[int, int]) -> Attachment | None:
        """Run it; None with `detach`. Raises CommandNotFound and the like before anything runs, Conflict the second
        time.
        """
        one = self.find_active(exec_id)
        if one.started:
            state = "is already running" if one.exit_code is None else "has already run"
            raise Conflict(f"Error: Exec command {exec_id} {state}")
        container = self._parts.table.find(one.container_id)
        request = one.request
        size = console_size if any(console_size) else request.console_size
        one.started = True
        self._parts.tell(container, f"exec_start: {_shown(request)}", execID=exec_id)
        try:
            runtime_pid = await self._parts.tasks.finish(self._spawn(one, container, request, detach, size), "exec")
        except (HostvmError, OSError):
            one.exit_code = _NOT_STARTED
            one.run.give_up(one.exit_code)
            one.run.close()
            self._remove_folder(one)
            raise
        one.running = True
        one.run.started.set()
        self._parts.tasks.start(self._watch(one, container, runtime_pid), f"exec {exec_id[:12]}")
        attachment = self._attach(one, container, request)
        if not detach:
            return attachment
        attachment.close()
        await self._wait_running(one)
        return None

    # -- doing

    def _attach(self, one: Exec, container: Container, request: ExecRequest) -> Attachment:
        stdio = one.run.stdio
        if request.tty:
            streams = {os.dup(stdio.stdout): STDOUT}
        else:
            streams = {stdio.stdout: STDOUT, stdio.stderr: STDERR}
            stdio.stdout = stdio.stderr = -1
        source = _Leavable(PipeSource(streams), self._parts.tasks)
        wanted = _attach_request(request, detach=False)
        return Attachment(
            source,
            one.run,
            wanted,
            request.tty,
            stdin_ends_with_client=True,
            release_stdin=_nothing,
            tell_detached=lambda: self._parts.tell(container, "exec_detach", execID=one.id),
        )

    async def _spawn(
        self, one: Exec, container: Container, request: ExecRequest, detach: bool, size: tuple[int, int]
    ) -> int:
        process = self._plan(container, request, size)
        one.folder = self._parts.paths.exec_folder(one.id)
        os.makedirs(one.folder)
        if request.tty:
            return await self._spawn_with_terminal(one, process, size)
        stdio = make_pipes(request.attach_stdin and not detach)
        one.run.stdio = stdio
        try:
            _discard_output(stdio, wanted_streams(_attach_request(request, detach)))
            return await self._parts.runtime.spawn_exec(container.id, one.folder, process, dict(stdio.child_ends))
        finally:
            stdio.close_child_ends()

    async def _spawn_with_terminal(self, one: Exec, process: dict[str, object], size: tuple[int, int]) -> int:
        console = ConsoleSocket(self._parts.paths.console_socket(one.id))
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            runtime_pid = await self._parts.runtime.spawn_exec(
                one.container_id, one.folder, process, {0: null, 1: null, 2: null}, console.path
            )
            one.run.stdio = terminal_stdio(await console.receive(_CONSOLE_TIMEOUT))
        finally:
            console.close()
            os.close(null)
        if any(size):
            one.run.stdio.resize(*size)
        return runtime_pid

    def _plan(self, container: Container, request: ExecRequest, size: tuple[int, int]) -> dict[str, object]:
        """The process, checked against what the container sees. Raises CommandNotFound, CommandNotExecutable."""
        root = f"/proc/{container.state.pid}/root"
        user = resolve_user(root, request.user or container.config.user, container.host_config.group_add)
        # As docker plans it, not as init has it: programs overwrite their environment with their title (redis, nginx).
        given = (*link_variables(self._parts, container), *container.config.environment, *request.environment)
        environment = plan_environment(find_hostname(container), given, tty=request.tty, home=user.home)
        working_dir = request.working_dir or container.config.working_dir or "/"
        check_working_dir(root, working_dir)
        check_command(root, request.command[0], environment, working_dir)
        return plan_exec_process(
            container.host_config,
            request.command,
            environment,
            user,
            self._parts.host.capabilities,
            working_dir=working_dir,
            tty=request.tty,
            privileged=request.privileged,
            console_size=size,
        )

    async def _wait_running(self, one: Exec) -> None:
        """Until it has a pid, or has ended: whom a detached start has answered asks for it.

        The runtime tells by a file, and the end takes the folder away. Where the kernel has no watch left it isn't
        waited for: who asks in the next milliseconds is told of no pid yet.
        """
        with contextlib.suppress(OSError, TimeoutError), self._changes.watched(one.folder) as changed:
            async with asyncio.timeout(_PID_TIMEOUT):
                while one.running and not one.pid:
                    await changed.wait()
                    changed.clear()

    async def _watch(self, one: Exec, container: Container, runtime_pid: int) -> None:
        try:
            one.exit_code = await self._parts.runtime.exec_result(runtime_pid, one.folder, one.request.command[0])
        except HostvmError:
            one.exit_code = _NOT_STARTED
        one.last_pid = one.pid
        one.running = False
        one.run.end_output()
        one.run.finish(one.exit_code)
        one.run.close()
        container = self._parts.table.get(container.id) or container  # renamed meanwhile, or gone
        self._parts.tell(container, "exec_die", execID=one.id, exitCode=str(one.exit_code))
        self._remove_folder(one)

    def _remove_folder(self, one: Exec) -> None:
        if one.folder:
            shutil.rmtree(one.folder, ignore_errors=True)

    def _forget_old(self) -> None:
        idle = [one.id for one in self._execs.values() if not one.running]
        for identity in idle[: max(0, len(idle) - _REMEMBERED)]:
            del self._execs[identity]


class _Leavable:
    """Output of a command that outlives its reader: what it says then goes nowhere, and it never learns of it."""

    def __init__(self, source: PipeSource, tasks: BackgroundTasks) -> None:
        self._source = source
        self._tasks = tasks
        self._left = False

    async def read(self) -> tuple[int, bytes] | None:
        return await self._source.read()

    def close(self) -> None:
        if self._left:
            return
        self._left = True
        rest = self._source.copy()
        self._source.close()
        self._tasks.start(rest.drain(), "the output of an exec that its client has left")


def _attach_request(request: ExecRequest, detach: bool) -> AttachRequest:
    """A terminal has one stream, which is shown whatever is asked for."""
    return AttachRequest(
        stdin=request.attach_stdin and not detach,
        stdout=(request.attach_stdout or request.tty) and not detach,
        stderr=request.attach_stderr and not detach,
        detach_keys=request.detach_keys,
    )


def _unknown(exec_id: str) -> NotFound:
    return NotFound(f"No such exec instance: {exec_id}")


def _shown(request: ExecRequest) -> str:
    """The command in an event: docker joins its first word and the others by a space, also where there are none."""
    return f"{request.command[0]} {' '.join(request.command[1:])}"


def _check_active(container: Container, shown: str) -> None:
    """Raises Conflict; a paused container is named as the client did, like docker has it."""
    if container.state.status is Status.PAUSED:
        raise Conflict(f"Container {shown} is paused, unpause the container before exec")
    if container.state.status is Status.RESTARTING:
        raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
    next_status(container, Step.EXEC)


def _check_detach_keys(keys: str) -> None:
    """Before anything is made of them. Raises InvalidArgument."""
    try:
        parse_detach_keys(keys)
    except InvalidArgument:
        raise InvalidArgument(f"Invalid escape keys ({keys}) provided") from None


def _nothing() -> None:
    """An exec's streams aren't held by the keeper."""


def _discard_output(stdio: Stdio, wanted: set[int]) -> None:
    """What nobody asked for goes into the void: a pipe that nobody reads would stop the command."""
    for number in {1, 2} - wanted:
        os.close(stdio.child_ends.pop(number))
        stdio.child_ends[number] = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
