"""What the two helper processes share: the chroot, the report at the end, and dying with the engine.

A helper is `python -I -m guest_agent.layers.<unpack|pack> JSON`. Why a process: chroot(2) holds for a whole process,
and the engine must not lose its own root; a layer's work doesn't hold the engine's GIL.
"""

from __future__ import annotations

import errno
import os
import select
import threading
from typing import Any

_HOST_ERRORS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM))


def enter(root: str) -> None:
    """Make `root` this process' root and working directory. Whatever has to be imported has been imported."""
    os.chdir(root)
    os.chroot(".")
    os.umask(0)


def exit_when_unread(descriptor: int) -> None:
    """End this process at once when the pipe's reader is gone: the engine was killed, nobody wants the result."""

    def wait() -> None:
        poll = select.poll()
        poll.register(descriptor, 0)
        poll.poll()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def describe(error: OSError, name: str) -> dict[str, Any]:
    """The report of a failed system call: a full disk is the host's fault, a name that can't be is the layer's."""
    reason = (error.strerror or str(error)).lower()
    if error.errno in _HOST_ERRORS:
        return {"kind": "host-failed", "message": f"{name}: {reason}"}
    return {"kind": "peer-misbehaved", "message": f"{name}: {reason}"}
