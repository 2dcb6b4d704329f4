"""What this process has open, so that a test can show that it left nothing."""

from __future__ import annotations

import os
from contextlib import suppress


def open_descriptors() -> frozenset[str]:
    """What they are, such as a path or "socket:[INODE]".

    To be compared by `<=`: what an earlier test forgot may be collected, and so closed, at any moment.
    """
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the folder's own
            found.add(os.readlink(f"/proc/self/fd/{name}"))
    return frozenset(found)
