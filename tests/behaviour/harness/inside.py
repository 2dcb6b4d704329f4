"""Questions about the place where an engine runs, answered there.

Natively the harness calls these functions itself: its own processes, mounts and networks are the engine's surroundings.
For a VM this file's text is run by the guest's interpreter, `python3 -I -c TEXT`, which reads lines of JSON,
[QUESTION, ARGUMENTS...], and answers each with one (`answerer`). So it MUST stand alone, on the standard library's
leanest modules, and every answer MUST be what JSON can carry.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

#: Folders of which each entry belongs to one container, or to work in progress.
TRANSIENT = ("{data}/containers", "{data}/tmp", "{run}/containers", "{run}/runtime")

# -- processes

#: pid, state letter, parent's pid, words
Row = tuple[int, str, int, str]


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


def processes() -> list[Row]:
    return [(pid, state, parent, command_of(pid)) for pid, state, parent in process_table()]


def send_signal(pid: int, number: int) -> None:
    os.kill(pid, number)


def find_keeper(run: str) -> int:
    """The process that holds containers. 0 = there is none."""
    return keeper_among(processes(), run)


def keeper_among(rows: list[Row], run: str) -> int:
    """Its words name the journal in the run folder."""
    return next((pid for pid, state, _, words in rows if state != "Z" and "keeper" in words and run in words), 0)


def find_engine(keeper: int) -> int:
    """The engine beside a keeper. 0 = there is none."""
    return engine_among(processes(), keeper)


def engine_among(rows: list[Row], keeper: int) -> int:
    """The keeper's child that is our own Python program."""
    ours = (pid for pid, state, parent, words in rows if parent == keeper and state != "Z" and "guest_agent" in words)
    return next(ours, 0)


def below(root: int) -> list[int]:
    """Children of a process, their children and so on; no zombies, and not who asks."""
    return below_among(process_table(), root)


def below_among(table: Iterable[tuple[int, str, int]], root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for pid, state, parent in table:
        if state != "Z" and pid != os.getpid():
            children.setdefault(parent, []).append(pid)
    found = children.get(root, [])[:]
    for pid in found:
        found += children.get(pid, [])
    return found


# -- everything that a container could leave behind


def belongings(root: int, data: str, run: str, alone: bool) -> dict[str, list[str]]:
    """By kind. `root` is the process below which the machine's processes are; `alone`: no other machine's are here."""
    rows = processes()  # once: emulated, each look at all of /proc takes a tenth of a second
    keeper = keeper_among(rows, run)
    return {
        "processes": own_processes(rows, root, keeper),
        "mounts": mounts(keeper or os.getpid(), [data, run]),
        "links": links(),
        "rules": rules(),
        "cgroups": cgroups(data, run, alone),
        "files": files(data, run),
        "descriptors": descriptors(keeper) if keeper else [],
    }


def own_processes(rows: list[Row], root: int, keeper: int) -> list[str]:
    """Each as "pid words"; the machine's own by their names, because they are started again when they die."""
    own = {keeper: "keeper", engine_among(rows, keeper) if keeper else 0: "engine"}
    said = {pid: words for pid, _, _, words in rows}
    inside = [(pid, said[pid]) for pid in below_among((row[:3] for row in rows), root)]
    return [own.get(pid) or guest_service(pid, words) or f"{pid} {words}" for pid, words in inside if words]


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

    for line in sys.stdin:
        print(json.dumps({"answer": answer(*json.loads(line))}), flush=True)
