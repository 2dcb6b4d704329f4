"""`docker top`: ps(1) on the host, cut down to a container's processes, as dockerd does it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Sequence

from guest_agent.api.render_config import Json
from guest_agent.wire.errors import HostFailed, InvalidArgument, Unsupported

#: `-o pid=WHO`: a renamed column would hide which one holds the pids.
_RENAMED_PID = re.compile(r"\s+(\S*)=\s*(PID\S*)", re.ASCII)


async def list_processes(pids: Sequence[int], arguments: str) -> Json:
    """Raises HostFailed with ps's own words when it doesn't like the arguments or shows no PID.

    Asked for the pids alone first, which options like `aux` don't let it do; then for everything.
    """
    _check_arguments(arguments)
    words = arguments.split(" ")
    try:
        code, output, _ = await _ps(*words, "-q", ",".join(map(str, pids)))
        if code:
            code, output, complaint = await _ps(*words)
            if code:
                raise HostFailed(f"ps: {complaint.partition(chr(10))[0]}")
    except FileNotFoundError as error:
        raise Unsupported("ps is not installed", "install the package procps") from error
    return select_rows(output, set(pids))


def _check_arguments(arguments: str) -> None:
    for name, value in _RENAMED_PID.findall(arguments):
        if name != "pid":
            raise InvalidArgument(f'specifying "{name}={value}" is not allowed')


async def _ps(*words: str) -> tuple[int, str, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "ps", *words, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )
    output, complaint = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace"), complaint.decode(errors="replace").strip()


def select_rows(table: str, pids: Collection[int]) -> Json:
    """Titles and the rows whose PID is wanted; the last column keeps its spaces.

    With threads (`-m`) a process' rows follow, whose PID is "-".
    """
    lines = table.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise HostFailed("Couldn't find PID field in ps output")
    place = titles.index("PID")
    wanted: list[list[str]] = []
    of_a_wanted_process = False
    for line in lines[1:]:
        row = line.split(None, len(titles) - 1)
        if len(row) <= place:
            continue
        if row[place] != "-":
            of_a_wanted_process = row[place].isdecimal() and int(row[place]) in pids
        if of_a_wanted_process:
            wanted.append(row)
    return {"Titles": titles, "Processes": wanted or None}
