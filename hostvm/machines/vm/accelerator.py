"""Which accelerator can run our guest here: hvf on a Mac, kvm where it proves itself, tcg everywhere.

That /dev/kvm opens says little: in some virtual machines it is there, and a kernel hangs in it or stops with an
emulation failure. So the proof is our guest's own kernel, run without a root file system until it panics for want of
one, which takes a fraction of a second on a sound host and ends QEMU (`-no-reboot`).
"""

from __future__ import annotations

import os
import subprocess
import sys

#: Seconds. A sound host takes 0.5; a nested one, 2.
_PROOF_DEADLINE = 8.0
#: How the kernel begins its last words (kernel/panic.c).
_PANIC = b"Kernel panic"


def plan_candidates(platform: str, same_arch: bool, have_kvm: bool) -> tuple[str, ...]:
    """Best first; those before the last have to prove themselves. Pure."""
    if not same_arch:
        return ("tcg",)
    if platform == "darwin":
        return ("hvf", "tcg")
    return ("kvm", "tcg") if have_kvm else ("tcg",)


def find_accelerator(program: str, arch: str, host_arch: str, kernel: str) -> str:
    """The best that works. Takes up to `_PROOF_DEADLINE` seconds where one doesn't."""
    have_kvm = os.access("/dev/kvm", os.R_OK | os.W_OK)
    *doubtful, last = plan_candidates(sys.platform, arch == host_arch, have_kvm)
    for name in doubtful:
        if prove(program, arch, name, kernel):
            return name
    return last


def prove(program: str, arch: str, accelerator: str, kernel: str) -> bool:
    """Whether a guest's kernel runs to its panic."""
    argv = plan_proof(program, arch, accelerator, kernel)
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROOF_DEADLINE)
    except (subprocess.TimeoutExpired, OSError):
        return False
    return done.returncode == 0 and _PANIC in done.stdout


def plan_proof(program: str, arch: str, accelerator: str, kernel: str) -> list[str]:
    """QEMU with a kernel and nothing else. Pure."""
    machine, console = ("q35", "ttyS0") if arch == "x86_64" else ("virt,highmem=on", "ttyAMA0")
    return [
        program, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", machine,
        "-accel", accelerator, "-cpu", "host", "-smp", "1", "-m", "256M", "-serial", "stdio",
        "-kernel", kernel, "-append", f"console={console} panic=-1 quiet",
    ]  # fmt: skip
