"""Capabilities by name and number (include/uapi/linux/capability.h), and which of them this process can pass on."""

from __future__ import annotations

_ALL = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG
MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM
BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
NAMES = tuple(f"CAP_{name}" for name in _ALL.split())


def names_of(mask: int) -> tuple[str, ...]:
    """The names of the bits of a mask as /proc/<pid>/status has it, in the kernel's order."""
    return tuple(name for number, name in enumerate(NAMES) if mask >> number & 1)


def parse_bounding_set(status: str) -> tuple[str, ...]:
    """From the text of /proc/<pid>/status."""
    for line in status.splitlines():
        if line.startswith("CapBnd:"):
            return names_of(int(line.split()[1], 16))
    return ()


def available() -> tuple[str, ...]:
    """What a container can be given here: this process's bounding set."""
    with open("/proc/self/status") as file:
        return parse_bounding_set(file.read())
