"""Bare `crun run` with the features that hostvm's containers have: the floor that no engine gets under.

Its configuration is the very one that hostvm made for a container of its own, changed where an engine's work is needed:
an empty network namespace by crun instead of a prepared one, a plain folder as root, and no engine's files in /etc.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from typing import Any

from guest_agent.runtime.seccomp import default_profile, plan_seccomp
from tests.bench.contenders import Hostvm
from tests.bench.processes import run

COMPILED = "run.oci.seccomp_bpf_data"


class BareCrun:
    """Two bundles with one root: the seccomp filter compiled by crun at each start, and given compiled."""

    def __init__(self, folder: str, plain: dict[str, Any], compiled: dict[str, Any]) -> None:
        self._folder = folder
        self._count = 0
        for name, configuration in (("plain", plain), ("compiled", compiled)):
            os.makedirs(f"{folder}/{name}")
            with open(f"{folder}/{name}/config.json", "w", encoding="utf-8") as file:
                json.dump(configuration, file)

    @classmethod
    def from_hostvm(cls, hostvm: Hostvm) -> BareCrun:
        """Reads the bundle of a running container, and copies its root file system."""
        container = run(hostvm.run_command("-d", "busybox", "sleep", "3600"), hostvm.environment)
        bundle = f"{hostvm.run_folder}/containers/{container}"
        folder = f"{os.path.dirname(hostvm.run_folder)}/bare"
        try:
            with open(f"{bundle}/config.json", encoding="utf-8") as file:
                configuration = json.load(file)
            (seen,) = json.loads(run(hostvm.command("inspect", container), hostvm.environment))
            root = f"/proc/{seen['State']['Pid']}/root"
            os.makedirs(f"{folder}/root")
            run(["cp", "-a", "--one-file-system", root + "/.", folder + "/root/"])
        finally:
            run(hostvm.command("rm", "--force", container), hostvm.environment)
        configuration = without_engine(configuration, f"{folder}/root")
        return cls(folder, with_profile(configuration), configuration)

    def in_own_mounts(self) -> float:
        """`unshare --mount crun run`: what it takes where cgroups are hybrid, as on the machines that we measure on."""
        return self._milliseconds("plain", "unshare", "--mount")

    def alone(self) -> float:
        return self._milliseconds("plain")

    def compiled(self) -> float:
        return self._milliseconds("compiled")

    def _milliseconds(self, bundle: str, *before: str) -> float:
        self._count += 1
        state = [f"--root={self._folder}/state", "--cgroup-manager=cgroupfs"]
        name = f"bench{os.getpid()}-{self._count}"
        argv = [*before, "crun", *state, "run", f"--bundle={self._folder}/{bundle}", name]
        begin = time.perf_counter()
        subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
        return (time.perf_counter() - begin) * 1000

    def remove(self) -> None:
        shutil.rmtree(self._folder)


def without_engine(configuration: dict[str, Any], root: str) -> dict[str, Any]:
    """The configuration for `true` in `root`, without what only an engine can prepare."""
    linux = configuration["linux"]
    namespaces = [{"type": space["type"]} for space in linux["namespaces"]]
    mounts = [mount for mount in configuration["mounts"] if mount.get("type") != "bind"]
    process = {**configuration["process"], "args": ["true"], "terminal": False}
    linux = {key: value for key, value in linux.items() if key != "cgroupsPath"} | {"namespaces": namespaces}
    return {**configuration, "root": {"path": root}, "mounts": mounts, "process": process, "linux": linux}


def with_profile(configuration: dict[str, Any]) -> dict[str, Any]:
    """The same with the seccomp profile as text, as everybody but hostvm hands it over."""
    annotations = {key: value for key, value in configuration.get("annotations", {}).items() if key != COMPILED}
    bounding = configuration["process"]["capabilities"]["bounding"]
    linux = {**configuration["linux"], "seccomp": plan_seccomp(default_profile(), bounding, os.uname().machine)}
    return {**configuration, "annotations": annotations, "linux": linux}
