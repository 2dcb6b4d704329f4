"""What a process inside sees and what comes back from it. Each scenario runs in a fresh `stage`."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid

from guest_agent.linux import capabilities
from guest_agent.runtime import cgroups, console, executables
from guest_agent.runtime.crun import exec_pid
from guest_agent.runtime.probe import probe_runtime, try_runtime
from guest_agent.runtime.spec import plan_exec_process
from guest_agent.runtime.usage import read_usage
from guest_agent.runtime.users import ResolvedUser
from guest_agent.wire.errors import CommandNotExecutable, CommandNotFound, HostFailed
from guest_agent.wire.models import ContainerConfig, HostConfig
from guest_agent.wire.resources import Resources, Ulimit
from tests.behaviour.runtime.stage import _NULL, LocalSpawner, Stage, leftovers


def _name() -> str:
    return uuid.uuid4().hex


async def defaults(stage: Stage) -> None:
    name = _name()
    script = "id; hostname; cat /proc/self/status /proc/self/cgroup; ls /dev /proc/kcore; mount; echo $$ $PATH $HOME"
    code, output = await stage.run(stage.inputs(name, "sh", "-c", script))
    assert code == 0, output
    assert "uid=0(root) gid=0(root)" in output and name in output
    assert "CapEff:\t00000000a80425fb" in output
    assert "Seccomp:\t2" in output and "NoNewPrivs:\t0" in output
    assert "shm on /dev/shm type tmpfs (rw,nosuid,nodev,noexec,relatime,size=65536k" in output
    assert "mqueue on /dev/mqueue" in output and "proc on /proc/sys type proc (ro" in output
    assert "\n1 /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /root\n" in output
    assert all(
        ":/\n" in line + "\n" for line in output.splitlines() if line[:2].strip(":").isdigit() and ":" in line[:3]
    )
    assert leftovers(stage, name) == []


async def seccomp_denies(stage: Stage) -> None:
    code, output = await stage.run(stage.inputs(_name(), "sh", "-c", "mount -t tmpfs x /tmp"))
    assert code != 0 and "permission denied" in output, output
    code, output = await stage.run(stage.inputs(_name(), "mount", "-t", "tmpfs", "x", "/tmp", cap_add=("SYS_ADMIN",)))
    assert code == 0, "with SYS_ADMIN the profile lets mount(2) through, as docker's does"
    inputs = stage.inputs(_name(), "cat", "/proc/self/status", privileged=True)
    code, output = await stage.run(inputs)
    assert "Seccomp:\t0" in output
    everything = sum(1 << capabilities.NAMES.index(name) for name in stage.capabilities)
    assert f"CapEff:\t{everything:016x}" in output


async def exit_codes(stage: Stage) -> None:
    for text, wanted in (("exit 0", 0), ("exit 42", 42), ("kill -9 $$", 0), ("sh -c 'kill -9 $$'; exit $?", 137)):
        code, _ = await stage.run(stage.inputs(_name(), "sh", "-c", text))
        assert code == wanted, (text, code)  # pid 1 is deaf to its own SIGKILL


async def failures(stage: Stage) -> None:
    with open(f"{stage.rootfs}/plain", "w") as file:
        file.write("no program")
    for runtime in ("crun", "runc"):
        stage.choose(runtime)
        for argv0, wanted, words in (
            ("nosuch", CommandNotFound, 'exec: "nosuch": executable file not found in $PATH'),
            ("/nosuch", CommandNotFound, 'exec: "/nosuch": stat /nosuch: no such file or directory'),
            ("/plain", CommandNotExecutable, 'exec: "/plain": permission denied'),
            ("/etc", CommandNotExecutable, 'exec: "/etc": permission denied'),
        ):
            name = _name()
            try:
                await stage.run(stage.inputs(name, argv0))
            except wanted as error:
                assert words in error.message, error.message
            else:
                raise AssertionError(f"{runtime} {argv0} ran")
            assert leftovers(stage, name) == []


async def ulimits(stage: Stage) -> None:
    lower = Resources(ulimits=(Ulimit("nofile", 100, 200),))
    code, output = await stage.run(stage.inputs(_name(), "sh", "-c", "ulimit -n; ulimit -Hn", resources=lower))
    assert (code, output) == (0, "100\n200\n")
    higher = Resources(ulimits=(Ulimit("nofile", 1 << 20, 1 << 20),))
    if "CAP_SYS_RESOURCE" not in stage.capabilities:
        try:
            await stage.run(stage.inputs(_name(), "true", resources=higher))
        except HostFailed as error:
            assert error.hint
        else:
            raise AssertionError("a limit was raised without the capability")


async def limits_hold(stage: Stage) -> None:
    hog = ("sh", "-c", "x=a; while true; do x=$x$x; done")
    code, output = await stage.run(stage.inputs(_name(), *hog, resources=Resources(memory=32 << 20)))
    assert code == 137 and stage.oom_killed, (code, output)
    few = Resources(pids_limit=4)
    code, output = await stage.run(
        stage.inputs(_name(), "sh", "-c", "for i in 1 2 3 4 5 6; do sleep 1 & done", resources=few)
    )
    assert "can't fork" in output and not stage.oom_killed


async def statistics(stage: Stage) -> None:
    name = _name()
    resources = Resources(memory=64 << 20, nano_cpus=500_000_000, pids_limit=50)
    inputs = stage.inputs(name, "sleep", "100", resources=resources)
    pid = await stage.background(inputs)
    seen = read_usage(stage.facts, inputs.cgroups_path)
    assert (seen.memory.limit, seen.pids, seen.pids_limit) == (64 << 20, 1, 50), seen
    assert 0 < seen.memory.usage < 64 << 20 and seen.cpu.total > 0
    assert cgroups.processes(stage.facts, inputs.cgroups_path) == (pid,)
    with open(f"{stage.facts.folder('cpu', inputs.cgroups_path)}/cpu.cfs_quota_us") as file:
        assert file.read() == "50000\n"
    assert cgroups.set_frozen(stage.facts, inputs.cgroups_path, True, 2)
    assert cgroups.set_frozen(stage.facts, inputs.cgroups_path, False, 2)
    assert await stage.end(name, pid) == 137
    assert leftovers(stage, name) == []


async def no_exit_code_is_lost(stage: Stage) -> None:
    gate = asyncio.Semaphore(4)

    async def one(number: int) -> tuple[int, int]:
        async with gate:
            code, _ = await stage.run(stage.inputs(_name(), "sh", "-c", f"exit {number % 200}"))
            return number % 200, code

    results = await asyncio.gather(*(one(number) for number in range(200)))
    assert all(wanted == code for wanted, code in results), results


async def restart_in_same_bundle(stage: Stage) -> None:
    inputs = stage.inputs(_name(), "sh", "-c", "exit 3")
    assert [(await stage.run(inputs))[0] for _ in range(3)] == [3, 3, 3]


async def terminal(stage: Stage) -> None:
    inputs = stage.inputs(_name(), "sh", "-c", "stty size; exit 7", config=ContainerConfig(tty=True))
    folder = stage.bundle(inputs)
    listener = console.ConsoleSocket(f"{folder}/tty")
    fds = {0: _NULL, 1: _NULL, 2: _NULL}
    made = await stage.runtime.create(inputs.container_id, folder, fds, "sh", listener.path)
    master = await listener.receive(5)
    listener.close()
    console.resize(master, 33, 99)
    stage.runtime.start(inputs.container_id)
    assert await LocalSpawner().wait(made.pid) >> 8 == 7
    assert os.read(master, 100) == b"33 99\r\n"
    await stage.runtime.delete(inputs.container_id, folder)


async def exec_codes(stage: Stage) -> None:
    name = _name()
    inputs = stage.inputs(name, "sleep", "100")
    pid = await stage.background(inputs)
    for wanted in (0, 1, 42, 255):
        assert await _exec(stage, name, ("sh", "-c", f"exit {wanted}")) == wanted
    assert await _exec(stage, name, ("sh", "-c", "kill -15 $$")) == 143
    assert await asyncio.gather(*(_exec(stage, name, ("sh", "-c", f"exit {n}")) for n in range(12))) == list(range(12))
    for tty_code in (0, 42):
        assert await _exec(stage, name, ("sh", "-c", f"exit {tty_code}"), tty=True) == tty_code
    try:
        await _exec(stage, name, ("nosuch",))
    except CommandNotFound as error:
        assert error.message.startswith("OCI runtime exec failed: exec failed: ")
    else:
        raise AssertionError("nosuch ran")
    for argv0, wanted_error in (("nosuch", CommandNotFound), ("/etc", CommandNotExecutable)):
        try:
            executables.check_command(f"/proc/{pid}/root", argv0, inputs.environment)
        except wanted_error:
            continue
        raise AssertionError(argv0)
    executables.check_command(f"/proc/{pid}/root", "sh", inputs.environment)
    await stage.end(name, pid)
    assert leftovers(stage, name) == []


async def _exec(stage: Stage, name: str, argv: tuple[str, ...], *, tty: bool = False) -> int:
    folder = f"{stage.folder}/{name}/{uuid.uuid4().hex[:8]}"
    os.makedirs(folder)
    planned = plan_exec_process(HostConfig(), argv, ("PATH=/bin",), ResolvedUser(), stage.capabilities, tty=tty)
    listener = console.ConsoleSocket(f"{folder}/tty") if tty else None
    fds = {0: _NULL, 1: _NULL, 2: _NULL}
    runtime_pid = await stage.runtime.spawn_exec(name, folder, planned, fds, listener.path if listener else "")
    master = -1
    if listener:
        master = await listener.receive(5)
        listener.close()
    code = await stage.runtime.exec_result(runtime_pid, folder, argv[0])
    if listener:
        os.close(master)
    assert exec_pid(folder) > 0
    return code


async def update_of_limits(stage: Stage) -> None:
    name = _name()
    inputs = stage.inputs(name, "sleep", "100", resources=Resources(memory=64 << 20))
    pid = await stage.background(inputs)
    await stage.runtime.update(name, f"{stage.folder}/{name}", {"memory": {"limit": 128 << 20}})
    assert read_usage(stage.facts, inputs.cgroups_path).memory.limit == 128 << 20
    await stage.end(name, pid)


async def probes(stage: Stage) -> None:
    """The probe waits for its own children."""
    asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
    for name in ("crun", "runc"):
        stage.choose(name)
        assert try_runtime(stage.runtime.choice, stage.facts, stage.capabilities) == ""
    first = probe_runtime(f"{stage.folder}/probes.json", stage.facts, stage.capabilities)
    assert (first.name, first.precompiled_seccomp, first.cgroups_enabled) == ("crun", True, True)
    assert probe_runtime(f"{stage.folder}/probes.json", stage.facts, stage.capabilities) == first


async def runc_too(stage: Stage) -> None:
    stage.choose("runc")
    name = _name()
    assert await stage.run(stage.inputs(name, "sh", "-c", "echo hi; exit 5")) == (5, "hi\n")
    assert leftovers(stage, name) == []


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        defaults, seccomp_denies, exit_codes, failures, ulimits, limits_hold, statistics, no_exit_code_is_lost,
        restart_in_same_bundle, terminal, exec_codes, update_of_limits, probes, runc_too,
    )
}  # fmt: skip
