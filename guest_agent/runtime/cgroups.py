"""Control groups: what this machine has, a container's processes, and taking its groups away.

Three layouts (facts for planning in `CgroupFacts`): v1 (a hierarchy for each controller), hybrid (v1 and an empty or
nearly empty v2 at /sys/fs/cgroup/unified, which crun refuses unless it is unmounted in a private mount namespace) and
v2. A container's group is /hostvm/<id> below each hierarchy's root. v2 has no inner processes (cgroups(7)): there
the engine moves itself into a leaf before it hands controllers down.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import time
from collections.abc import Iterable
from dataclasses import dataclass

ROOT = "/sys/fs/cgroup"
PARENT = "/hostvm"
_V2_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")


@dataclass(frozen=True, slots=True)
class CgroupFacts:
    """`hierarchies`: controller (or "name=systemd") -> where it is mounted; v2 is under ""."""

    version: int  #: 1 or 2; 0 = no cgroups at all
    hybrid: bool
    hierarchies: dict[str, str]
    swap_limit: bool = False

    def folder(self, controller: str, path: str) -> str:
        """The folder of a group, in the hierarchy that has this controller."""
        base = self.hierarchies.get("" if self.version == 2 else controller, f"{ROOT}/{controller}")
        return f"{base}{path}"


def container_path(container_id: str, parent: str = "") -> str:
    """`cgroupsPath` of a container; `parent` is its --cgroup-parent."""
    return f"{posixpath.normpath('/' + parent).rstrip('/')}/{container_id}" if parent else f"{PARENT}/{container_id}"


def parse_hierarchies(mountinfo: str) -> dict[str, str]:
    """Controller -> mount point, from /proc/self/mountinfo; the first mount of each wins; v2 is under ""."""
    found: dict[str, str] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if not kind or kind[0] not in ("cgroup", "cgroup2"):
            continue
        words = [""] if kind[0] == "cgroup2" else kind[2].split(",")
        for word in words:
            if word not in ("rw", "ro", "xattr", "clone_children", "noprefix", "favordynmods"):
                found.setdefault(word, fields[4])
    return found


def plan_facts(hierarchies: dict[str, str], have_swap_files: bool) -> CgroupFacts:
    """Which of the three layouts this is."""
    unified = "" in hierarchies
    legacy = any(name and not name.startswith("name=") for name in hierarchies)
    version = 1 if legacy else 2 if unified else 0
    return CgroupFacts(version, legacy and unified, hierarchies, have_swap_files)


def detect() -> CgroupFacts:
    with open("/proc/self/mountinfo") as file:
        hierarchies = parse_hierarchies(file.read())
    memory = hierarchies.get("memory", "")
    swap_file = f"{memory}/memory.memsw.limit_in_bytes" if memory else ""
    return plan_facts(hierarchies, os.path.exists(swap_file) if swap_file else _v2_counts_swap())


def _v2_counts_swap() -> bool:
    """The root group has no memory.swap.max; what says it is whether the kernel has swap accounting at all."""
    return os.path.exists("/proc/swaps") and not read_file("/proc/cmdline").count("swapaccount=0")


def oom_killed(facts: CgroupFacts, path: str) -> bool:
    """Did the kernel kill a process of the group for lack of memory? Ask after the exit and before `remove`."""
    name = "memory.events" if facts.version == 2 else "memory.oom_control"
    return read_pairs(f"{facts.folder('memory', path)}/{name}").get("oom_kill", 0) > 0


def processes(facts: CgroupFacts, path: str) -> tuple[int, ...]:
    """The pids in a group and its children, as the host sees them: what `top` lists."""
    folder = facts.folder("pids", path)
    found: list[int] = []
    for inner, _, _ in os.walk(folder):
        found.extend(int(line) for line in read_file(f"{inner}/cgroup.procs").split())
    return tuple(sorted(found))


def set_frozen(facts: CgroupFacts, path: str, frozen: bool, timeout: float) -> bool:
    """Pause or resume. False where it took longer than `timeout` seconds to settle."""
    folder = facts.folder("freezer", path)
    if facts.version == 2:
        _write(f"{folder}/cgroup.freeze", "1" if frozen else "0")
    else:
        _write(f"{folder}/freezer.state", "FROZEN" if frozen else "THAWED")
    return _wait_settled(facts.version, folder, frozen, time.monotonic() + timeout)


def lift_pids_limit(facts: CgroupFacts, path: str) -> None:
    """As many processes as anybody likes: crun's `update` can't say that (1.8 writes -1, which the kernel refuses)."""
    _write(f"{facts.folder('pids', path)}/pids.max", "max")


def lift_cpu_quota(facts: CgroupFacts, path: str) -> None:
    """All of the processors' time: crun's `update` can't say that either."""
    name, unlimited = ("cpu.max", "max") if facts.version == 2 else ("cpu.cfs_quota_us", "-1")
    _write(f"{facts.folder('cpu', path)}/{name}", unlimited)


def _wait_settled(version: int, folder: str, frozen: bool, deadline: float) -> bool:
    while True:
        if version == 2:
            settled = read_pairs(f"{folder}/cgroup.events").get("frozen", 0) == int(frozen)
        else:
            settled = read_file(f"{folder}/freezer.state").strip() == ("FROZEN" if frozen else "THAWED")
        if settled or time.monotonic() > deadline:
            return settled
        time.sleep(0.001)


def remove(facts: CgroupFacts, path: str) -> bool:
    """Take the group away in every hierarchy, inner ones first. False where a process is still in one."""
    places = dict.fromkeys(f"{base}{path}" for base in facts.hierarchies.values())
    if facts.version == 1:
        # With v2 unmounted, crun still makes its folder for v2, on the tmpfs below.
        places.setdefault(f"{ROOT}/unified{path}")
    removed = [_remove_tree(place) for place in places]
    return all(removed)


def _remove_tree(folder: str) -> bool:
    try:
        os.rmdir(folder)  # all there is to do, unless the container made groups of its own
        return True
    except OSError as error:
        if error.errno == errno.ENOENT:
            return True
    empty = True
    for inner, _, files in os.walk(folder, topdown=False):
        _remove_plain_files(inner, files)
        try:
            os.rmdir(inner)
        except OSError as error:
            empty = empty and error.errno == errno.ENOENT
    return empty


def _remove_plain_files(folder: str, names: Iterable[str]) -> None:
    """What crun wrote on the tmpfs; in a cgroup file system nothing can be unlinked (EPERM), nor need it be."""
    for name in names:
        try:
            os.unlink(f"{folder}/{name}")
        except OSError:
            return


def prepare_v2(facts: CgroupFacts) -> None:
    """v2 only: make /hostvm and hand the controllers down to it. Idempotent; OSError where that isn't allowed.

    Where the mounted root is not the machine's (a container, a delegated group: only those have cgroup.type), its own
    processes, this one among them, must first go to a leaf.
    """
    if facts.version != 2:
        return
    base = facts.hierarchies[""]
    if os.path.exists(f"{base}/cgroup.type"):
        _move_processes(base, f"{base}{PARENT}-engine")
    os.makedirs(f"{base}{PARENT}", exist_ok=True)
    for folder in (base, f"{base}{PARENT}"):
        _hand_down(folder)


def _move_processes(source: str, leaf: str) -> None:
    os.makedirs(leaf, exist_ok=True)
    for pid in read_file(f"{source}/cgroup.procs").split():
        with contextlib.suppress(ProcessLookupError):
            _write(f"{leaf}/cgroup.procs", pid)


def _hand_down(folder: str) -> None:
    """One by one: a controller that a v1 hierarchy has bound must not keep the others away."""
    have = read_file(f"{folder}/cgroup.controllers").split()
    for name in _V2_CONTROLLERS:
        if name in have:
            with contextlib.suppress(OSError):
                _write(f"{folder}/cgroup.subtree_control", f"+{name}")


def read_pairs(path: str) -> dict[str, int]:
    """A "flat keyed" file: `name number` lines."""
    pairs = (line.split() for line in read_file(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def read_number(path: str) -> int:
    """A file of one number; 0 for "max", and where there is none."""
    text = read_file(path).strip()
    return int(text) if text.isdecimal() else 0


def read_file(path: str) -> str:
    """ "" where a controller isn't there, or the group has gone."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
