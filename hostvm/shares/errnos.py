"""The host's error numbers in Linux's: the guest is always Linux, the host may be macOS.

Names are what both have in common. The numbers are of Linux's asm-generic/errno.h, the same on x86_64 and arm64.
"""

from __future__ import annotations

import errno

EPERM, ENOENT, EIO, EBADF, EAGAIN, ENOMEM, EACCES, EEXIST = 1, 2, 5, 9, 11, 12, 13, 17
ENOTDIR, EISDIR, EINVAL, ENFILE, EMFILE, ENAMETOOLONG, ENOSYS = 20, 21, 22, 23, 24, 36, 38
ENODATA, EOPNOTSUPP, ESTALE, ERANGE, ENXIO = 61, 95, 116, 34, 6

_LINUX = {
    "EPERM": 1, "ENOENT": 2, "ESRCH": 3, "EINTR": 4, "EIO": 5, "ENXIO": 6, "E2BIG": 7, "ENOEXEC": 8, "EBADF": 9,
    "ECHILD": 10, "EAGAIN": 11, "EWOULDBLOCK": 11, "ENOMEM": 12, "EACCES": 13, "EFAULT": 14, "ENOTBLK": 15,
    "EBUSY": 16, "EEXIST": 17, "EXDEV": 18, "ENODEV": 19, "ENOTDIR": 20, "EISDIR": 21, "EINVAL": 22, "ENFILE": 23,
    "EMFILE": 24, "ENOTTY": 25, "ETXTBSY": 26, "EFBIG": 27, "ENOSPC": 28, "ESPIPE": 29, "EROFS": 30, "EMLINK": 31,
    "EPIPE": 32, "EDOM": 33, "ERANGE": 34, "EDEADLK": 35, "ENAMETOOLONG": 36, "ENOLCK": 37, "ENOSYS": 38,
    "ENOTEMPTY": 39, "ELOOP": 40, "ENODATA": 61, "ENOATTR": 61, "ETIME": 62, "ENOLINK": 67, "EPROTO": 71,
    "EBADMSG": 74, "EOVERFLOW": 75, "EILSEQ": 84, "EUSERS": 87, "EOPNOTSUPP": 95, "ENOTSUP": 95, "ETIMEDOUT": 110,
    "EALREADY": 114, "EINPROGRESS": 115, "ESTALE": 116, "EDQUOT": 122, "ECANCELED": 125,
}  # fmt: skip


class Refusal(Exception):
    """The answer to a request is this Linux error number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def linux_errno(error: OSError) -> int:
    """The number for the guest; EIO where Linux has no such error."""
    return by_name(errno.errorcode.get(error.errno or 0, ""))


def by_name(name: str) -> int:
    return _LINUX.get(name, EIO)
