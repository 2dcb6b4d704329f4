"""A layer's folder on its way, with the outline beside it; and an overlay's upper folder that becomes one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from guest_agent.layers.helper import Measurement, Unpacked
from guest_agent.store import files
from guest_agent.wire.errors import DataDamaged
from guest_agent.wire.models import DiffId

#: A layer's outline (layers.outline) has the name of its folder, and this.
OUTLINE = ".outline"


class Measured:
    """An overlay's upper folder on its way into a staging; everything blocks."""

    def __init__(self, folder: str, place: str, userxattr: bool) -> None:
        self.place = place
        self._folder = folder
        outline = os.open(place + OUTLINE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            self._measurement = Measurement(folder, outline, userxattr)
        finally:
            os.close(outline)

    def finish(self) -> Unpacked:
        """Nobody writes any more: what it is. It lies at `place` now, its outline beside it."""
        layer = self._measurement.finish()
        os.rename(self._folder, self.place)
        return layer

    def abort(self) -> None:
        """Drop it; without effect on what a staging has taken."""
        self._measurement.abort()
        remove_unpacked(self.place)


def remove_unpacked(folder: str) -> None:
    """What an unpacker made, while it isn't in its place."""
    files.remove_tree(folder)
    files.remove_tree(folder + OUTLINE)


@contextmanager
def opened_outline(path: str, diff_id: DiffId) -> Iterator[int]:
    try:
        outline = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        hint = "pull or load the image again: what unpacked it kept no outline"
        raise DataDamaged(f"layer {diff_id} can't be packed as it came", hint) from None
    try:
        yield outline
    finally:
        os.close(outline)
