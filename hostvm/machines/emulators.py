"""Whether this host runs programs of other architectures: an emulator that the kernel was told of (binfmt_misc).

The kernel finds an emulator's file in the container, where there is none, unless its entry has the flag F: then it is
opened when it is registered (Documentation/admin-guide/binfmt-misc.rst).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from hostvm.machines.finding import Finding

REGISTERED = "/proc/sys/fs/binfmt_misc"
#: Byte order and e_machine of an ELF header (elf.h) -> docker's word.
_ARCHITECTURES = {
    ("01", 0x03): "386", ("01", 0x28): "arm", ("01", 0x3E): "amd64", ("01", 0xB7): "arm64", ("01", 0xF3): "riscv64",
    ("01", 0x15): "ppc64le", ("01", 0x102): "loong64", ("02", 0x16): "s390x",
}  # fmt: skip
_MAGIC = "7f454c46"
_FIX = "apt-get install qemu-user-static binfmt-support (as root), and again if need be: update-binfmts --enable"


@dataclass(frozen=True, slots=True)
class Emulator:
    """`fixed`: has the flag F."""

    architecture: str
    enabled: bool
    fixed: bool


def probe_emulators(folder: str = REGISTERED) -> Finding:
    return check_emulators(read_emulators(folder))


def check_emulators(emulators: list[Emulator]) -> Finding:
    subject = "programs of other architectures"
    ready = sorted({it.architecture for it in emulators if it.enabled and it.fixed})
    if ready:
        return Finding(f"{subject} ({', '.join(ready)})")
    if emulators:
        problem = "their emulators are turned off, or registered without the flag F: containers don't find them"
        return Finding(subject, problem, _FIX, warning=True)
    return Finding(subject, "no emulator is registered: images for other platforms don't run", _FIX, warning=True)


def read_emulators(folder: str) -> list[Emulator]:
    """[] where binfmt_misc isn't mounted."""
    found = []
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if name not in ("register", "status"):
            with open(os.path.join(folder, name), encoding="ascii", errors="replace") as file:
                found.append(parse_entry(file.read()))
    return [it for it in found if it is not None]


def parse_entry(text: str) -> Emulator | None:
    """An entry as the kernel shows it; None where it isn't about another architecture's ELF programs."""
    lines = text.splitlines()
    fields = dict(line.split(" ", 1) for line in lines if " " in line)
    magic = fields.get("magic", "")
    if not magic.startswith(_MAGIC) or len(magic) < 40:
        return None
    order, machine = magic[10:12], bytes.fromhex(magic[36:40])
    architecture = _ARCHITECTURES.get((order, int.from_bytes(machine, "little" if order == "01" else "big")))
    if architecture is None:
        return None
    return Emulator(architecture, "enabled" in lines, "F" in fields.get("flags:", ""))
