"""`docker top`: ps(1) on the host, cut down to a container's processes, as dockerd does it."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Collection, Sequence

from guest_agent.api.render_config import Json
from guest_agent.wire.errors import InvalidArgument, Unsupported


async def list_processes(pids: Sequence[int], arguments: str) -> Json:
    """Raises InvalidArgument with ps's own words when it doesn't like the arguments or shows no PID."""
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise InvalidArgument(f"ps: {error}") from error
    try:
        process = await asyncio.create_subprocess_exec(
            "ps",
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise Unsupported("ps is not installed", "install the package procps") from error
    output, complaint = await process.communicate()
    if process.returncode:
        raise InvalidArgument(f"ps: {complaint.decode(errors='replace').strip()}")
    return select_rows(output.decode(errors="replace"), set(pids))


def select_rows(table: str, pids: Collection[int]) -> Json:
    """Titles and the rows whose PID is wanted; the last column keeps its spaces."""
    lines = table.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidArgument("Couldn't find PID field in ps output")
    place = titles.index("PID")
    rows = [line.split(None, len(titles) - 1) for line in lines[1:] if line.strip()]
    wanted = [row for row in rows if len(row) > place and row[place].isdigit() and int(row[place]) in pids]
    return {"Titles": titles, "Processes": wanted}
