"""Kernel modules: finit_module(2), which glibc doesn't wrap."""

from __future__ import annotations

import ctypes
import errno
import os

#: By uname -m; from the kernel's syscall tables.
_SYS_FINIT_MODULE = {"x86_64": 313, "aarch64": 273}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def load_module(path: str) -> None:
    """Loads an uncompressed module whose dependencies are there already. One that is loaded is no error.

    Raises OSError that names the file.
    """
    number = _SYS_FINIT_MODULE[os.uname().machine]
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.syscall(ctypes.c_long(number), descriptor, ctypes.c_char_p(b""), 0) < 0:
            code = ctypes.get_errno()
            if code != errno.EEXIST:
                raise OSError(code, f"load {path}: {os.strerror(code)}")
    finally:
        os.close(descriptor)
