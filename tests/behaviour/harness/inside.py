"""Questions about the place where an engine runs, answered there.

Natively the harness calls these functions itself: its own processes, mounts and networks are the engine's surroundings.
For a VM this file's text is run by the guest's interpreter, `python3 -I -c TEXT QUESTION ARGUMENTS`, and prints JSON.
So it MUST stand alone, on the standard library's leanest modules, and every answer MUST be what JSON can carry.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from typing import Any

#: Folders of which each entry belongs to one container, or to work in progress.
TRANSIENT = ("{data}/containers", "{data}/tmp", "{run}/containers", "{run}/runtime")

# -- processes


def process_table() -> Iterator[tuple[int, str, int]]:
    """(pid, state letter, parent's pid) of every process: fields 1, 3 and 4 of /proc/PID/stat (proc(5))."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    state, parent = file.read().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            yield int(name), state, int(parent)


def command_of(pid: int) -> str:
    """The words of a process, with spaces between; "" for one that has ended, and for the kernel's own."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def processes() -> list[tuple[int, str, int, str]]:
    """(pid, state letter, parent's pid, words) of every process."""
    return [(pid, state, parent, command_of(pid)) for pid, state, parent in process_table()]


def send_signal(pid: int, number: int) -> None:
    os.kill(pid, number)


def find_keeper(run: str) -> int:
    """The process that holds containers; its words name the journal in the run folder. 0 = there is none."""
    rows = ((pid, command_of(pid)) for pid, state, _ in process_table() if state != "Z")
    return next((pid for pid, words in rows if "keeper" in words and run in words), 0)


def find_engine(keeper: int) -> int:
    """The keeper's child that is our own Python program. 0 = there is none."""
    children = (pid for pid, state, parent in process_table() if parent == keeper and state != "Z")
    return next((pid for pid in children if "guest_agent" in command_of(pid)), 0)


def below(root: int) -> list[int]:
    """Children of a process, their children and so on; no zombies, and not who asks."""
    children: dict[int, list[int]] = {}
    for pid, state, parent in process_table():
        if state != "Z" and pid != os.getpid():
            children.setdefault(parent, []).append(pid)
    found = children.get(root, [])[:]
    for pid in found:
        found += children.get(pid, [])
    return found


# -- everything that a container could leave behind


def belongings(root: int, data: str, run: str, alone: bool) -> dict[str, list[str]]:
    """By kind. `root` is the process below which the machine's processes are; `alone`: no other machine's are here."""
    keeper = find_keeper(run)
    return {
        "processes": own_processes(root, keeper),
        "mounts": mounts(keeper or os.getpid(), [data, run]),
        "links": links(),
        "rules": rules(),
        "cgroups": cgroups(data, run, alone),
        "files": files(data, run),
        "descriptors": descriptors(keeper) if keeper else [],
    }


def own_processes(root: int, keeper: int) -> list[str]:
    """Each as "pid words"; the machine's own by their names, because they are started again when they die."""
    own = {keeper: "keeper", find_engine(keeper) if keeper else 0: "engine"}
    rows = [(pid, command_of(pid)) for pid in below(root)]
    return [own.get(pid) or guest_service(pid, words) or f"{pid} {words}" for pid, words in rows if words]


def guest_service(pid: int, words: str) -> str:
    """ "hostvm-agent", "hostvm-relay": forks of a guest's init, which have its words. "" for any other process."""
    if not words.endswith("/usr/lib/hostvm/init.py"):
        return ""
    try:
        with open(f"/proc/{pid}/comm", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def mounts(pid: int, folders: list[str]) -> list[str]:
    """Mount points below the machine's folders, as a process sees them; what it has besides is the host's."""
    places = tuple(folder + "/" for folder in folders)
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as file:
        return [words[4] for words in map(str.split, file) if words[4].startswith(places)]


def links() -> list[str]:
    """Network interfaces of this namespace."""
    import socket

    return [name for _, name in socket.if_nameindex()]


def rules() -> list[str]:
    """The firewall as text, line by line; handles and counters left out."""
    import subprocess

    shown = subprocess.run(["nft", "--stateless", "list", "ruleset"], capture_output=True, text=True, check=True)
    return [line.strip() for line in shown.stdout.splitlines()]


def cgroups(data: str, run: str, alone: bool) -> list[str]:
    """Control groups of containers: all, or those of containers of which this machine has anything."""
    known = {name for pattern in TRANSIENT for name in _entries(pattern, data, run)}
    found = [(parent, name) for parent in _cgroup_parents() for name in os.listdir(parent)]
    found = [(parent, name) for parent, name in found if re.fullmatch("[0-9a-f]{64}", name)]
    return [f"{parent}/{name}" for parent, name in found if alone or name in known]


def _cgroup_parents() -> list[str]:
    """Where containers have their groups: once with cgroup v2, in every hierarchy with v1."""
    roots = ["/sys/fs/cgroup", *(entry.path for entry in os.scandir("/sys/fs/cgroup") if entry.is_dir())]
    return [f"{root}/hostvm" for root in roots if os.path.isdir(f"{root}/hostvm")]


def files(data: str, run: str) -> list[str]:
    """Entries of the folders that hold one thing for each container, volume or transfer."""
    places = [*TRANSIENT, "{data}/volumes"]
    return [f"{pattern}/{name}" for pattern in places for name in _entries(pattern, data, run)]


def _entries(pattern: str, data: str, run: str) -> list[str]:
    return names(pattern.format(data=data, run=run))


def descriptors(pid: int) -> list[str]:
    """How many descriptors of each kind a process holds, such as "pipe 2"."""
    counts: dict[str, int] = {}
    for name in names(f"/proc/{pid}/fd"):
        try:
            kind = re.split(r"[:\[]", os.readlink(f"/proc/{pid}/fd/{name}"))[0]
        except OSError:
            continue
        counts[kind] = counts.get(kind, 0) + 1
    return [f"{kind} {number + 1}" for kind, count in counts.items() for number in range(count)]


# -- files


def names(folder: str) -> list[str]:
    """The entries of a folder; none when there is no such folder."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def overwrite(path: str, length: int) -> bool:
    """Ones over a file's start, on the disk when this returns. False: there is no such file."""
    if not os.path.exists(path):
        return False
    with open(path, "r+b") as file:
        file.write(b"\xff" * length)
        file.flush()
        os.fsync(file.fileno())
    return True


def fill(folder: str, leave: int) -> str:
    """Takes a file system's space except for about `leave` bytes; the path of the file that takes it."""
    path = f"{folder}/.filler"
    state = os.statvfs(folder)
    size = state.f_bavail * state.f_frsize - leave
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    return path


def remove(path: str) -> None:
    os.unlink(path)


def namespaces(pid: int) -> dict[str, str]:
    """Kind -> identity of a process's namespaces."""
    return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in os.listdir(f"/proc/{pid}/ns")}


def limit(pid: int, controller: str, file: str, unified_file: str) -> str:
    """A value of the group that a process is in: of its hierarchy with cgroup v1, of the only one with v2."""
    for line in read(f"/proc/{pid}/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return read(f"/sys/fs/cgroup/{controller}{path}/{file}").strip()
    return read(f"/sys/fs/cgroup{path}/{unified_file}").strip()


QUESTIONS = {
    question.__name__: question
    for question in (
        processes, send_signal, find_keeper, find_engine, belongings, mounts, links, names, read, overwrite, fill,
        remove, namespaces, limit,
    )
}  # fmt: skip


def answer(question: str, *arguments: Any) -> Any:
    return QUESTIONS[question](*arguments)


if __name__ == "__main__":
    import json

    print(json.dumps(answer(sys.argv[1], *json.loads(sys.argv[2]))))
