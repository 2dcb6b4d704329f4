"""Programs of another architecture: the kernel is told which emulator runs them (binfmt_misc, binfmt.d(5)).

The image has Debian's qemu-user-static and its rules. With the flag F the kernel opens an emulator when it is told of
it, so that containers, which have no such file, run by it as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from guest_agent.boot.system import write_file
from guest_agent.linux import mounts

RULES = "/usr/lib/binfmt.d"
FILE_SYSTEM = "/proc/sys/fs/binfmt_misc"


def register_formats() -> Iterator[str]:
    """Tells the kernel of every rule in the image; answers what it refused. MUST be called once for each boot."""
    try:
        mounts.mount("binfmt_misc", FILE_SYSTEM, "binfmt_misc", mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC)
        for rule in read_rules(RULES):
            write_file(f"{FILE_SYSTEM}/register", rule)
    except OSError as error:
        yield f"programs of other architectures won't run: {error}"


def read_rules(folder: str) -> Iterator[str]:
    """The rules in a folder of configuration, as the kernel takes them."""
    for name in sorted(os.listdir(folder)):
        with open(f"{folder}/{name}", encoding="ascii") as file:
            yield from (plan_rule(line.strip()) for line in file if line.startswith(":"))


def plan_rule(rule: str) -> str:
    """With the flag C: a program with the set-user-ID bit (su, sudo) gets its owner's rights, not the emulator's."""
    return rule if "C" in rule.rpartition(":")[2] else f"{rule}C"
