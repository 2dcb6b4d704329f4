"""Which OCI runtime works on this machine, found out by running /bin/true in it, once for each kernel and version.

The order of preference: crun with the filter compiled beforehand, crun, runc, and in the end crun or runc without
control groups (limits don't hold then, which `info` says). Must be asked in the mount namespace that containers will
be made in. The answer is kept, because asking takes 20 to 200 ms.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

from guest_agent.runtime import cgroups
from guest_agent.runtime.cgroups import CgroupFacts
from guest_agent.runtime.crun import RuntimeChoice
from guest_agent.runtime.environment import DEFAULT_PATH
from guest_agent.runtime.seccomp import FilterCache
from guest_agent.runtime.spec import SpecInputs, dump_spec, plan_spec, with_seccomp
from guest_agent.runtime.users import ResolvedUser
from guest_agent.wire.errors import HostFailed
from guest_agent.wire.models import ContainerConfig, HostConfig
from guest_agent.wire.mounts import Mount

#: A runtime that hasn't run /bin/true in this time doesn't work.
_TIMEOUT = 20.0
_NO_CGROUPS = "control groups can't be used on this machine: limits don't hold"
_HINT = "apt-get install crun"


def find_binary(name: str) -> str | None:
    return shutil.which(name, path=DEFAULT_PATH)


def probe_runtime(cache: str, facts: CgroupFacts, capabilities: tuple[str, ...]) -> RuntimeChoice:
    """The best that works, from the file `cache` (EnginePaths.probes) where this machine was asked before.

    HostFailed with the reason that the preferred runtime gave, where none works.
    """
    candidates = list(_candidates(facts))
    if not candidates:
        raise HostFailed("no OCI runtime: neither crun nor runc is installed", _HINT)
    key = _key(candidates, facts)
    known = _load(cache, key)
    if known is not None:
        return known
    choice = _first_that_works(candidates, facts, capabilities)
    _save(cache, key, choice)
    return choice


def _candidates(facts: CgroupFacts) -> Iterator[RuntimeChoice]:
    found = [(name, binary) for name in ("crun", "runc") if (binary := find_binary(name))]
    versions = {name: _version(binary) for name, binary in found}
    if facts.version:
        for name, binary in found:
            if name == "crun":
                yield RuntimeChoice(name, binary, versions[name])
            yield RuntimeChoice(name, binary, versions[name], precompiled_seccomp=False)
    for name, binary in found:
        if name == "crun":
            yield RuntimeChoice(name, binary, versions[name], cgroups_enabled=False, warnings=(_NO_CGROUPS,))


def _version(binary: str) -> str:
    try:
        result = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.partition("\n")[0].rpartition(" ")[2]


def _first_that_works(
    candidates: list[RuntimeChoice], facts: CgroupFacts, capabilities: tuple[str, ...]
) -> RuntimeChoice:
    reasons = []
    for choice in candidates:
        reason = try_runtime(choice, facts, capabilities)
        if not reason:
            return choice
        reasons.append(f"{choice.name}: {reason}")
    raise HostFailed(f"no OCI runtime works here: {reasons[0]}", "`hostvm doctor` tells more")


def try_runtime(choice: RuntimeChoice, facts: CgroupFacts, capabilities: tuple[str, ...]) -> str:
    """Run /bin/true in a container; "" where that worked, else what the runtime said."""
    name = f"probe-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="hostvm-probe-") as folder:
        _write_bundle(folder, name, choice, facts, capabilities)
        manager = [] if choice.cgroups_enabled else ["--cgroup-manager=disabled"]
        argv = [choice.binary, "--root", f"{folder}/state", *manager, "run", "--bundle", folder, name]
        try:
            result = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        finally:
            cgroups.remove(facts, cgroups.container_path(name))
    return "" if result.returncode == 0 else result.stderr.strip() or f"status {result.returncode}"


def _write_bundle(
    folder: str, name: str, choice: RuntimeChoice, facts: CgroupFacts, capabilities: tuple[str, ...]
) -> None:
    mounts = _host_programs(f"{folder}/rootfs")
    inputs = SpecInputs(
        container_id=name,
        hostname="probe",
        config=ContainerConfig(),
        host_config=HostConfig(network_mode="host"),
        argv=("/bin/true",),
        environment=(f"PATH={DEFAULT_PATH}",),
        user=ResolvedUser(),
        rootfs="rootfs",
        cgroups_path=cgroups.container_path(name),
        cgroups=facts if choice.cgroups_enabled else dataclasses.replace(facts, version=0),
        available_capabilities=capabilities,
        mounts=mounts,
    )
    inputs = with_seccomp(inputs, FilterCache(), precompiled=choice.precompiled_seccomp)
    with open(f"{folder}/config.json", "wb") as file:
        file.write(dump_spec(plan_spec(inputs)))


def _host_programs(rootfs: str) -> tuple[Mount, ...]:
    """The host's own /bin/true and what it is linked to, read-only."""
    os.makedirs(rootfs)
    mounts = []
    for path in ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/libx32"):
        if os.path.islink(path):
            os.symlink(os.readlink(path), f"{rootfs}{path}")
        elif os.path.isdir(path):
            mounts.append(Mount(path, "bind", path, ("bind", "ro")))
    return tuple(mounts)


def _key(candidates: list[RuntimeChoice], facts: CgroupFacts) -> str:
    versions = sorted({f"{choice.name} {choice.version}" for choice in candidates})
    return "; ".join([os.uname().release, *versions, f"cgroup {facts.version}{' hybrid' if facts.hybrid else ''}"])


def _load(cache: str, key: str) -> RuntimeChoice | None:
    """What can't be read was never asked."""
    try:
        with open(cache, "rb") as file:
            saved = json.load(file)[key]
        return RuntimeChoice(**(saved | {"warnings": tuple(saved["warnings"])}))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _save(cache: str, key: str, choice: RuntimeChoice) -> None:
    temporary = f"{cache}.tmp"
    with open(temporary, "w") as file:
        json.dump({key: dataclasses.asdict(choice)}, file)
    os.replace(temporary, cache)
