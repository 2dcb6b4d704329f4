"""What the runtime needs from whoever is the parent of all containers (the keeper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Spawner(Protocol):
    """A subreaper: the container's init, orphaned by the runtime that made it, becomes its child.

    MUST keep the status of every child that ended until somebody waits for it: a container of `true` may have ended
    before `create` has returned.
    """

    async def spawn(
        self,
        argv: Sequence[str],
        fds: Mapping[int, int],
        environment: Mapping[str, str] | None = None,
        *,
        brief: bool = False,
    ) -> tuple[int, int]:
        """Start a program with `fds` (child's number -> ours) and no others; pid and start ticks.

        `brief` is what ends by itself within moments.
        """

    async def wait(self, pid: int) -> int:
        """The wait status (os.waitstatus_to_exitcode) of a child, at once where it has ended already."""
