"""Turning the machine off: reboot(2)."""

from __future__ import annotations

import ctypes
import os

_RB_POWER_OFF = 0x4321FEDC

_libc = ctypes.CDLL(None, use_errno=True)


def power_off() -> None:
    """Ends the kernel; doesn't return where it succeeds. File systems must be unmounted, or synced, before."""
    _libc.reboot(ctypes.c_int(_RB_POWER_OFF))
    code = ctypes.get_errno()
    raise OSError(code, f"power off: {os.strerror(code)}")
