"""Driving crun (or runc): create, start, exec, update, delete.

Theory of operation. `create` leaves the container's init blocked on `exec.fifo`; its parent, the runtime, ends, so it
becomes the keeper's child, whose wait() has its exit code however short its life. `start` is one byte into that FIFO
(0.1 ms, where a `crun start` process takes 5). Never `run --detach`: there crun itself reaps short containers.

crun protects its own binary from the container (CVE-2019-5736) by copying or re-mounting it and executing itself again
at every call: a fifth of `create`. Where `protected` says that the binary is on a read-only bind mount of ours, it is
told so by the variable that it would set itself, and skips that.

The runtime's errors come through `--log`. It repeats them on stderr, which is the container's: after a failed create
or exec whatever is in those pipes is the runtime's and must be thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from guest_agent.linux import mounts, process
from guest_agent.runtime import cgroups, failures
from guest_agent.runtime.cgroups import CgroupFacts
from guest_agent.runtime.spawner import Spawner
from guest_agent.wire.errors import Conflict, HostFailed

Argv = tuple[str, ...]

#: crun's and runc's own: "this binary is a sealed or read-only copy already".
_CLONED = {"_LIBCONTAINER_CLONED_BINARY": "1"}


@dataclass(frozen=True, slots=True)
class RuntimeChoice:
    """Which runtime, and how: what `probe` found to work here."""

    name: str  #: "crun" or "runc"
    binary: str
    version: str = ""
    cgroups_enabled: bool = True
    precompiled_seccomp: bool = True
    protected: bool = False  #: `binary` is on a read-only bind mount of ours
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CreatedContainer:
    """The container's init, blocked before its first instruction."""

    pid: int
    start_ticks: int


def protect_binary(binary: str, place: str) -> str:
    """Bind `binary` read-only at `place`, in the keeper's mount namespace: what to run from then on. Idempotent."""
    os.makedirs(os.path.dirname(place), exist_ok=True)
    mounts.umount_if_mounted(place)
    with open(place, "a"):
        pass
    mounts.bind(binary, place, read_only=True)
    return place


class OciRuntime:
    """`root` is --root (EnginePaths.runtime_root); short, on a tmpfs."""

    def __init__(self, choice: RuntimeChoice, root: str, spawner: Spawner, facts: CgroupFacts) -> None:
        self.choice = choice
        self._root = root
        self._spawner = spawner
        self._facts = facts

    # -- what is run: pure

    def _globals(self, log: str) -> Argv:
        manager = () if self.choice.cgroups_enabled or self.choice.name != "crun" else ("--cgroup-manager=disabled",)
        return (self.choice.binary, "--root", self._root, "--log", log, "--log-format", "json", *manager)

    def create_argv(self, container_id: str, bundle: str, console_socket: str = "") -> Argv:
        console = ("--console-socket", console_socket) if console_socket else ()
        pid_file = ("--pid-file", f"{bundle}/pid")
        return (
            *self._globals(f"{bundle}/runtime.log"),
            "create",
            "--bundle",
            bundle,
            *pid_file,
            *console,
            container_id,
        )

    def exec_argv(self, container_id: str, folder: str, console_socket: str = "") -> Argv:
        console = ("--console-socket", console_socket) if console_socket else ()
        files = ("--process", f"{folder}/process.json", "--pid-file", f"{folder}/pid")
        return (*self._globals(f"{folder}/runtime.log"), "exec", *files, *console, container_id)

    def update_argv(self, container_id: str, log: str, resources_file: str) -> Argv:
        return (*self._globals(log), "update", "--resources", resources_file, container_id)

    def delete_argv(self, container_id: str, log: str) -> Argv:
        return (*self._globals(log), "delete", "--force", container_id)

    def environment(self) -> dict[str, str]:
        path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        return path | _CLONED if self.choice.protected else path

    # -- doing

    async def create(
        self, container_id: str, bundle: str, fds: Mapping[int, int], argv0: str, console_socket: str = ""
    ) -> CreatedContainer:
        """Make the container of `bundle`/config.json; `fds` become its stdio (with a console: the runtime's own).

        CommandNotFound, CommandNotExecutable or HostFailed; nothing of it is left then.
        """
        _forget(f"{bundle}/pid", f"{bundle}/runtime.log")
        argv = self.create_argv(container_id, bundle, console_socket)
        runtime_pid, _ = await self._spawner.spawn(argv, fds, self.environment(), brief=True)
        status = await self._spawner.wait(runtime_pid)
        if status != 0:
            said = failures.parse_log(_read(f"{bundle}/runtime.log"))
            await self.delete(container_id, bundle)
            raise failures.create_failure(said, argv0)
        pid = int(_read(f"{bundle}/pid"))
        return CreatedContainer(pid, process.start_ticks(pid))

    def start(self, container_id: str) -> None:
        """Let the init go on. Conflict where it isn't waiting any more (started before, or dead)."""
        fifo = f"{self._root}/{container_id}/exec.fifo"
        if self.choice.name == "crun":
            self._write_fifo(fifo, container_id)
        else:
            self._read_fifo(fifo, container_id)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fifo)

    def _write_fifo(self, fifo: str, container_id: str) -> None:
        """crun's init reads; O_NONBLOCK fails with ENXIO where nobody does."""
        try:
            descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise Conflict(f"cannot start container {container_id[:12]}: {error.strerror}") from error
        try:
            os.write(descriptor, b"0")
        finally:
            os.close(descriptor)

    def _read_fifo(self, fifo: str, container_id: str) -> None:
        """runc's init writes: it is blocked in open(2) until somebody reads."""
        try:
            descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise Conflict(f"cannot start container {container_id[:12]}: {error.strerror}") from error
        try:
            os.set_blocking(descriptor, True)
            if not os.read(descriptor, 1):
                raise Conflict(f"cannot start container {container_id[:12]}: it isn't waiting")
        finally:
            os.close(descriptor)

    async def spawn_exec(
        self,
        container_id: str,
        folder: str,
        process_spec: Mapping[str, object],
        fds: Mapping[int, int],
        console_socket: str = "",
    ) -> int:
        """Run one more process; the pid of the `crun exec` that carries its exit status, for `exec_result`.

        `folder` is an existing folder of this exec's own. Ask `executables.check_command` before.
        """
        with open(f"{folder}/process.json", "w") as file:
            json.dump(process_spec, file)
        argv = self.exec_argv(container_id, folder, console_socket)
        runtime_pid, _ = await self._spawner.spawn(argv, fds, self.environment())
        return runtime_pid

    async def exec_result(self, runtime_pid: int, folder: str, argv0: str) -> int:
        """The command's exit code (128 + signal). Where the runtime failed: the translated error."""
        status = await self._spawner.wait(runtime_pid)
        said = failures.parse_log(_read(f"{folder}/runtime.log")) if status else ""
        if said:
            raise failures.exec_failure(said, argv0)
        return exit_code(status)

    async def update(self, container_id: str, folder: str, resources: Mapping[str, object]) -> None:
        """New limits (`limits.plan_resources`) for a running container."""
        with open(f"{folder}/resources.json", "w") as file:
            json.dump(resources, file)
        log = f"{folder}/update.log"
        await self._run(self.update_argv(container_id, log, f"{folder}/resources.json"), log)

    async def delete(self, container_id: str, bundle: str, group: str = "") -> None:
        """Take away what the runtime made: groups and state. Idempotent. `group` "" is the usual one.

        After the init's death that is a few rmdir (0.5 ms); where something still lives in the groups, the runtime's
        own `delete --force` kills it first.
        """
        if self.remove_remains(container_id, group):
            return
        log = f"{bundle}/delete.log"
        with contextlib.suppress(HostFailed):
            await self._run(self.delete_argv(container_id, log), log)
        for _ in range(50):
            if self.remove_remains(container_id, group):
                return
            await asyncio.sleep(0.02)
        raise HostFailed(
            f"cannot remove the control group of container {container_id[:12]}", "a process is stuck in it"
        )

    def remove_remains(self, container_id: str, group: str = "") -> bool:
        """The cheap path alone; False (and the state kept) where a process is still in the container's groups."""
        group = group or cgroups.container_path(container_id)
        if self.choice.cgroups_enabled and not cgroups.remove(self._facts, group):
            return False
        shutil.rmtree(f"{self._root}/{container_id}", ignore_errors=True)
        return True

    def known(self) -> tuple[str, ...]:
        """The containers of which the runtime has state: start-up compares them with the records."""
        try:
            return tuple(sorted(os.listdir(self._root)))
        except FileNotFoundError:
            return ()

    async def _run(self, argv: Argv, log: str) -> None:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            pid, _ = await self._spawner.spawn(argv, {0: null, 1: null, 2: null}, self.environment(), brief=True)
            status = await self._spawner.wait(pid)
        finally:
            os.close(null)
        if status:
            raise HostFailed(f"{' '.join(argv)}: {failures.parse_log(_read(log)) or exit_code(status)}")


def exec_pid(folder: str) -> int:
    """An exec's own pid as the host sees it; 0 as long as the runtime hasn't written it."""
    text = _read(f"{folder}/pid")
    return int(text) if text.isdecimal() else 0


def exit_code(status: int) -> int:
    """docker's: of a wait status, the code, or 128 + the signal."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _forget(*paths: str) -> None:
    """A bundle is used again when its container is restarted."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
