"""Runs one scenario against the real kernel, in a process and mount namespace of its own.

`python -m tests.behaviour.runtime.stage SCENARIO`. The process is a subreaper and the parent of every container, as
the keeper is; `LocalSpawner` is what the engine's keeper client looks like to the runtime. It needs root.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace

from guest_agent.linux import capabilities, mounts, process
from guest_agent.runtime import cgroups, seccomp
from guest_agent.runtime.crun import OciRuntime, RuntimeChoice, exit_code, protect_binary
from guest_agent.runtime.environment import plan_environment
from guest_agent.runtime.probe import find_binary
from guest_agent.runtime.spec import SpecInputs, dump_spec, plan_spec, with_seccomp
from guest_agent.runtime.users import resolve_user
from guest_agent.wire.models import ContainerConfig, HostConfig
from guest_agent.wire.mounts import Mount

_PR_SET_CHILD_SUBREAPER = 36
_NULL = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
APPLETS = ("sh", "true", "false", "sleep", "cat", "echo", "ls", "id", "env", "mount", "hostname", "stty", "dd", "tail")


_ended: dict[int, int] = {}
_someone_ended = asyncio.Event()


def _reap_all() -> None:
    """All, as the keeper does: an orphan of a failed exec that nobody reaps keeps the whole container from ending."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid == 0:
            break
        _ended[pid] = status
    _someone_ended.set()


class LocalSpawner:
    """A fake keeper in the same process."""

    async def spawn(
        self,
        argv: Sequence[str],
        fds: Mapping[int, int],
        environment: Mapping[str, str] | None = None,
        *,
        brief: bool = False,
    ) -> tuple[int, int]:
        actions = [(os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in fds.items()]
        pid = os.posix_spawn(argv[0], list(argv), dict(environment or {}), file_actions=actions)  # noqa: ASYNC221
        return pid, process.start_ticks(pid)

    async def wait(self, pid: int) -> int:
        async with asyncio.timeout(30):
            while pid not in _ended:
                _someone_ended.clear()
                await _someone_ended.wait()
        return _ended.pop(pid)


class Stage:
    """A scratch folder with a busybox root, and the runtime on it."""

    def __init__(self, folder: str, name: str = "crun") -> None:
        self.folder = folder
        self.rootfs = f"{folder}/rootfs"
        self.facts = cgroups.detect()
        self.capabilities = capabilities.available()
        self.filters = seccomp.FilterCache()
        self.choose(name)
        _make_rootfs(self.rootfs)

    def choose(self, name: str) -> None:
        binary = find_binary(name)
        assert binary, f"{name} isn't installed"
        choice = RuntimeChoice(name, binary, precompiled_seccomp=name == "crun")
        if name == "crun":
            choice = replace(choice, binary=protect_binary(binary, f"{self.folder}/bin/crun"), protected=True)
        self.runtime = OciRuntime(choice, f"{self.folder}/state-{name}", LocalSpawner(), self.facts)

    def inputs(self, name: str, *argv: str, config: ContainerConfig | None = None, **host: object) -> SpecInputs:
        config = config or ContainerConfig()
        host_config = HostConfig(**host)  # type: ignore[arg-type]
        user = resolve_user(self.rootfs, config.user, host_config.group_add)
        inputs = SpecInputs(
            container_id=name,
            hostname=name,
            config=config,
            host_config=host_config,
            argv=argv,
            environment=plan_environment(name, config.environment, tty=config.tty, home=user.home),
            user=user,
            rootfs=self.rootfs,
            cgroups_path=cgroups.container_path(name),
            cgroups=self.facts,
            available_capabilities=self.capabilities,
            mounts=(Mount("/tmp", "tmpfs", "tmpfs", ("mode=1777",)),),
            network_namespace="",
        )
        return with_seccomp(inputs, self.filters, precompiled=self.runtime.choice.precompiled_seccomp)

    def bundle(self, inputs: SpecInputs) -> str:
        """A private, empty network namespace stands for the engine's: path "" means a fresh one here."""
        folder = f"{self.folder}/{inputs.container_id}"
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/config.json", "wb") as file:
            file.write(dump_spec(plan_spec(inputs)).replace(b'"type":"network","path":""', b'"type":"network"'))
        return folder

    async def run(self, inputs: SpecInputs) -> tuple[int, str]:
        """Create, start, wait, delete: exit code and output (both streams)."""
        folder = self.bundle(inputs)
        reader, writer = os.pipe()
        try:
            fds = {0: _NULL, 1: writer, 2: writer}
            made = await self.runtime.create(inputs.container_id, folder, fds, inputs.argv[0])
            self.runtime.start(inputs.container_id)
            os.close(writer)
            writer = -1
            output = await asyncio.to_thread(_read_all, reader)
            code = exit_code(await LocalSpawner().wait(made.pid))
            self.oom_killed = cgroups.oom_killed(self.facts, inputs.cgroups_path)
            await self.runtime.delete(inputs.container_id, folder)
        finally:
            os.close(reader)
            if writer >= 0:
                os.close(writer)
        return code, output

    async def background(self, inputs: SpecInputs) -> int:
        """A container that goes on; its init's pid."""
        fds = {0: _NULL, 1: _NULL, 2: _NULL}
        made = await self.runtime.create(inputs.container_id, self.bundle(inputs), fds, inputs.argv[0])
        self.runtime.start(inputs.container_id)
        return made.pid

    async def end(self, name: str, pid: int) -> int:
        os.kill(pid, 9)
        status = await LocalSpawner().wait(pid)
        await self.runtime.delete(name, f"{self.folder}/{name}")
        return exit_code(status)


def leftovers(stage: Stage, name: str) -> list[str]:
    """What a deleted container has left in the kernel and on disk."""
    places = [f"{base}{cgroups.container_path(name)}" for base in stage.facts.hierarchies.values()]
    places += [f"{cgroups.ROOT}/unified{cgroups.container_path(name)}"]
    return [place for place in places if os.path.exists(place)] + list(stage.runtime.known())


def _read_all(descriptor: int) -> str:
    with open(descriptor, errors="replace", closefd=False) as file:
        return file.read()


def _make_rootfs(rootfs: str) -> None:
    for folder in ("bin", "sbin", "dev", "proc", "sys", "etc", "tmp", "root"):
        os.makedirs(f"{rootfs}/{folder}")
    shutil.copy("/bin/busybox", f"{rootfs}/bin/busybox")
    for name in APPLETS:
        os.symlink("busybox", f"{rootfs}/bin/{name}")
    files = {"passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n", "group": "root:x:0:\n"}
    for name, text in files.items():
        with open(f"{rootfs}/etc/{name}", "w") as file:
            file.write(text)


async def _play(name: str, stage: Stage) -> None:
    from tests.behaviour.runtime import scenarios

    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, _reap_all)
    await scenarios.SCENARIOS[name](stage)


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    mounts.unshare_mount_namespace()
    mounts.umount_if_mounted(f"{cgroups.ROOT}/unified")
    with tempfile.TemporaryDirectory(prefix="hostvm-stage-") as folder:
        try:
            asyncio.run(_play(sys.argv[1], Stage(folder)))
        finally:
            mounts.umount_if_mounted(f"{folder}/bin/crun")


if __name__ == "__main__":
    # The scenarios import this module by its name: there must be one copy of what has ended.
    from tests.behaviour.runtime import stage

    stage.main()
