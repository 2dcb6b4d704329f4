"""From a request's bytes to a reply's: whatever the guest sends, there is an answer and the server lives."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from guest_agent.wire.share_link import pack_reply
from hostvm.shares import attributes, contents, entries
from hostvm.shares.contents import Slow
from hostvm.shares.errnos import EIO, ENOSYS, Refusal, linux_errno
from hostvm.shares.fuse import Op, Request
from hostvm.shares.state import ShareState

log = logging.getLogger(__name__)

_Handler = Callable[[ShareState, Request], bytes | Slow | None]

HANDLERS: dict[int, _Handler] = {
    Op.LOOKUP: entries.lookup,
    Op.FORGET: entries.forget,
    Op.BATCH_FORGET: entries.batch_forget,
    Op.GETATTR: attributes.getattr_,
    Op.SETATTR: attributes.setattr_,
    Op.STATFS: attributes.statfs,
    Op.GETXATTR: attributes.getxattr,
    Op.SETXATTR: attributes.setxattr,
    Op.LISTXATTR: attributes.listxattr,
    Op.REMOVEXATTR: attributes.removexattr,
    Op.READLINK: entries.readlink,
    Op.SYMLINK: entries.symlink,
    Op.MKNOD: entries.mknod,
    Op.MKDIR: entries.mkdir,
    Op.UNLINK: entries.unlink,
    Op.RMDIR: entries.rmdir,
    Op.RENAME: entries.rename,
    Op.RENAME2: entries.rename2,
    Op.LINK: entries.link,
    Op.OPENDIR: entries.opendir,
    Op.READDIR: entries.readdir,
    Op.RELEASEDIR: entries.releasedir,
    Op.FSYNCDIR: contents.fsyncdir,
    Op.OPEN: contents.open_,
    Op.CREATE: contents.create,
    Op.RELEASE: contents.release,
    Op.READ: contents.read,
    Op.WRITE: contents.write,
    Op.LSEEK: contents.lseek,
    Op.FSYNC: contents.fsync,
    Op.FALLOCATE: contents.fallocate,
    Op.COPY_FILE_RANGE: contents.copy_file_range,
}
_UNANSWERED = (Op.FORGET, Op.BATCH_FORGET)


@dataclass(frozen=True, slots=True)
class Later:
    """An operation that may take long; `finish` gives the reply, and may be called in any thread."""

    finish: Callable[[], bytes]


def answer(state: ShareState, frame: bytes) -> bytes | Later | None:
    """The reply; None where FUSE expects none."""
    request = Request(frame)
    handler = HANDLERS.get(request.op)
    if handler is None:
        return pack_reply(request.unique, ENOSYS, b"")
    result = _guarded(request.unique, lambda: handler(state, request))
    if isinstance(result, Slow):
        slow = result
        return Later(lambda: _finish(request.unique, slow))
    return None if request.op in _UNANSWERED else result


def _finish(unique: int, slow: Slow) -> bytes:
    result = _guarded(unique, slow.run)
    assert isinstance(result, bytes)
    return result


def _guarded(unique: int, run: Callable[[], bytes | Slow | None]) -> bytes | Slow:
    """The reply to whatever comes of it."""
    try:
        result = run()
    except Refusal as refusal:
        return pack_reply(unique, refusal.number, b"")
    except OSError as error:
        return pack_reply(unique, linux_errno(error), b"")
    except Exception:
        log.exception("a share's request failed")
        return pack_reply(unique, EIO, b"")
    return result if isinstance(result, Slow) else pack_reply(unique, 0, result or b"")
