"""What an engine has on the kernel and on disk, so that a test can show that it left nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from dataclasses import dataclass, fields

from tests.behaviour.harness.machine import NativeMachine, command_of, find_engine, process_table
from tests.behaviour.harness.waiting import wait_for

#: Folders of which each entry belongs to one container, or to work in progress.
TRANSIENT = ("{data}/containers", "{data}/tmp", "{run}/containers", "{run}/runtime")


@dataclass(frozen=True, slots=True)
class Belongings:
    """One look at everything that a container could leave behind."""

    processes: frozenset[str]
    mounts: frozenset[str]
    links: frozenset[str]
    rules: frozenset[str]
    cgroups: frozenset[str]
    files: frozenset[str]
    descriptors: frozenset[str]

    def beyond(self, other: Belongings) -> dict[str, list[str]]:
        """What is here and not in `other`, by kind."""
        more = {field.name: getattr(self, field.name) - getattr(other, field.name) for field in fields(self)}
        return {name: sorted(entries) for name, entries in more.items() if entries}


def look_at(machine: NativeMachine) -> Belongings:
    """Everything of this machine, and what this worker's namespaces hold besides."""
    running = machine.running()
    keeper = machine.keeper_pid() if running else 0
    return Belongings(
        processes=frozenset(find_processes(machine)),
        mounts=frozenset(find_mounts(keeper or os.getpid(), machine.folder)),
        links=frozenset(find_links()),
        rules=frozenset(find_rules()),
        cgroups=frozenset(find_cgroups(machine)),
        files=frozenset(find_files(machine)),
        descriptors=frozenset(find_descriptors(keeper)) if running else frozenset(),
    )


def check_nothing_left(machine: NativeMachine, before: Belongings) -> None:
    """Waits until nothing is there that wasn't before: the kernel takes namespaces and their links away in its time."""

    def is_clean() -> bool:
        left.clear()
        left.update(look_at(machine).beyond(before))
        return not left

    left: dict[str, list[str]] = {}
    try:
        wait_for(is_clean, "nothing to be left behind", 15)
    except AssertionError:
        raise AssertionError(f"left behind: {json.dumps(left, indent=1)}") from None


def find_processes(machine: NativeMachine) -> list[str]:
    """Descendants of this worker as "pid words"; the machine's own two as "keeper" and "engine"."""
    keeper = machine.find_keeper() or 0
    own = {keeper: "keeper", find_engine(keeper) or 0: "engine"}
    return [own.get(pid) or f"{pid} {words}" for pid in find_descendants() if (words := command_of(pid))]


def find_descendants() -> list[int]:
    """All processes below this worker; zombies that became its children are reaped on the way."""
    children: dict[int, list[tuple[int, str]]] = {}
    for pid, state, parent in process_table():
        children.setdefault(parent, []).append((pid, state))
    found, queue = [], [os.getpid()]
    while queue:
        parent = queue.pop()
        for pid, state in children.get(parent, []):
            if state != "Z":
                queue.append(pid)
                found.append(pid)
            elif parent == os.getpid():
                _reap(pid)
    return found


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)


def find_mounts(pid: int, folder: str) -> list[str]:
    """Mount points below the machine's folder, as the keeper sees them; what it has besides is the host's."""
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as file:
        return [words[4] for words in map(str.split, file) if words[4].startswith(folder + "/")]


def find_links() -> list[str]:
    """Network interfaces in this worker's namespace."""
    shown = subprocess.run(["ip", "-json", "link"], capture_output=True, check=True).stdout
    return [link["ifname"] for link in json.loads(shown)]


def find_rules() -> list[str]:
    """The firewall as text, line by line; handles and counters left out."""
    shown = subprocess.run(["nft", "--stateless", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    return [line.strip() for line in shown.splitlines()]


def find_cgroups(machine: NativeMachine) -> list[str]:
    """Control groups named after one of this machine's containers: those that it knows, or has anything of."""
    ids = {name for pattern in TRANSIENT for name in _entries(pattern, machine) if re.fullmatch("[0-9a-f]{64}", name)}
    return [f"{parent}/{name}" for parent in _cgroup_parents() for name in os.listdir(parent) if name in ids]


def _cgroup_parents() -> list[str]:
    roots = ["/sys/fs/cgroup", *(entry.path for entry in os.scandir("/sys/fs/cgroup") if entry.is_dir())]
    return [f"{root}/hostvm" for root in roots if os.path.isdir(f"{root}/hostvm")]


def find_files(machine: NativeMachine) -> list[str]:
    """Entries of the folders that hold one thing for each container, volume or transfer."""
    places = [*TRANSIENT, "{data}/volumes"]
    return [f"{pattern}/{name}" for pattern in places for name in _entries(pattern, machine)]


def _entries(pattern: str, machine: NativeMachine) -> list[str]:
    folder = pattern.format(data=machine.data, run=machine.run)
    return os.listdir(folder) if os.path.isdir(folder) else []


def find_descriptors(pid: int) -> list[str]:
    """How many descriptors of each kind a process holds, such as "pipe 2"."""
    counts: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                kind = re.split(r"[:\[]", os.readlink(f"/proc/{pid}/fd/{name}"))[0]
                counts[kind] = counts.get(kind, 0) + 1
    return [f"{kind} {number + 1}" for kind, count in counts.items() for number in range(count)]
