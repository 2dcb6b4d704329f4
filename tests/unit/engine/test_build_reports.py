"""What a build says and nobody reads doesn't fill the memory."""

from __future__ import annotations

import asyncio

from guest_agent.engine.build_reports import Reports
from guest_agent.engine.build_run import show

_PIECES = 1000


class Chatter:
    """A command's output, without end for the patient."""

    def __init__(self) -> None:
        self.read_so_far = 0

    async def read(self) -> tuple[int, bytes] | None:
        if self.read_so_far == _PIECES:
            return None
        self.read_so_far += 1
        return 1, b"%d\n" % self.read_so_far


def test_a_command_is_heard_as_fast_as_the_client_reads() -> None:
    asyncio.run(_listen())


async def _listen() -> None:
    reports, chatter = Reports(), Chatter()

    async def say(_stream: int, text: str) -> None:
        reports.put({"stream": text})
        await reports.room()

    speaking = asyncio.create_task(show(chatter, say))
    speaking.add_done_callback(lambda _task: reports.end())
    for _ in range(2 * _PIECES):
        await asyncio.sleep(0)
    assert chatter.read_so_far < 100, "nobody has read yet"
    heard = []
    while (report := await reports.take()) is not None:
        heard.append(report["stream"])
    assert heard == [f"{number}\n" for number in range(1, _PIECES + 1)]
