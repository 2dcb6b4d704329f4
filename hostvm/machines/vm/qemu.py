"""The QEMU of this host: which program, which version, which accelerator it can use here.

What is found out costs 20 ms to some seconds, so it is kept in CACHE/accelerators.json, under the program's identity
(path, size, time of change) and this boot of the host.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from guest_agent.wire.errors import HostFailed, Unsupported
from hostvm.machines.vm.host import boot_id, host_arch
from hostvm.machines.vm.paths import VmPaths

#: The oldest that the tests run with (Debian 12).
LEAST_VERSION = (7, 2)
#: Where Homebrew and MacPorts install; a Mac's launchd gives a PATH without them.
_MORE_FOLDERS = ("/opt/homebrew/bin", "/usr/local/bin", "/opt/local/bin")
#: The guest needs no process of QEMU's, no other user and no scheduling class (seccomp, qemu(1)).
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

_INSTALL = {
    "darwin": "install it: brew install qemu",
    "linux": "install it: apt-get install qemu-system-x86 (or -arm), dnf install qemu-kvm, pacman -S qemu-base",
}


@dataclass(frozen=True, slots=True)
class Qemu:
    """A program for one architecture. `identity` changes when another QEMU is installed."""

    program: str
    arch: str
    version: str
    accelerator: str
    sandbox: bool
    identity: str


def find_program(arch: str, environment: Mapping[str, str]) -> str:
    """HOSTVM_QEMU, else qemu-system-ARCH in the PATH. Raises Unsupported with how to install it."""
    name = f"qemu-system-{arch}"
    if own := environment.get("HOSTVM_QEMU"):
        if not os.access(own, os.X_OK):
            raise Unsupported(f"HOSTVM_QEMU={own} is no program", "leave it unset to look in the PATH")
        return own
    for folder in [*environment.get("PATH", os.defpath).split(":"), *_MORE_FOLDERS]:
        if folder and os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    raise Unsupported(f"there is no {name} on this host", _INSTALL.get(sys.platform, "install QEMU"))


def identity_of(program: str) -> str:
    """A file that was replaced is another one."""
    real = os.path.realpath(program)
    status = os.stat(real)
    return f"{real}:{status.st_size}:{status.st_mtime_ns}"


def parse_version(text: str) -> tuple[int, ...]:
    """What `--version` prints -> (7, 2, 22); () for what can't be read."""
    import re

    found = re.search(r"version (\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part) for part in found.groups() if part) if found else ()


def check_version(program: str, version: tuple[int, ...]) -> None:
    """Raises Unsupported."""
    if version[:2] < LEAST_VERSION:
        have = ".".join(map(str, version)) or "unknown"
        raise Unsupported(
            f"{program} is version {have}, and hostvm needs {'.'.join(map(str, LEAST_VERSION))} or later",
            "upgrade it, or name another one: HOSTVM_QEMU=/path/of/qemu-system-...",
        )


def find_qemu(paths: VmPaths, arch: str, environment: Mapping[str, str], kernel: str) -> Qemu:
    """The QEMU to use. `kernel` is what an accelerator has to prove itself on. Raises Unsupported, HostFailed."""
    program = find_program(arch, environment)
    identity = identity_of(program)
    wanted = environment.get("HOSTVM_ACCEL", "")
    key = f"{arch} {wanted} {identity}"
    known = read_known(paths.accelerators, boot_id())
    if entry := known.get(key):
        return entry
    version = _ask_version(program)
    from hostvm.machines.vm.accelerator import find_accelerator

    qemu = Qemu(
        program=program,
        arch=arch,
        version=".".join(map(str, version)),
        accelerator=wanted or find_accelerator(program, arch, host_arch(), kernel),
        sandbox=have_sandbox(program),
        identity=identity,
    )
    _write_known(paths.accelerators, boot_id(), {**known, key: qemu})
    return qemu


def have_sandbox(program: str) -> bool:
    """Whether this build can lock itself up; only Linux has it."""
    argv = [program, "-sandbox", SANDBOX, "-machine", "none", "-version"]
    return sys.platform == "linux" and _run(argv)[0] == 0


def read_known(path: str, boot: str) -> dict[str, Qemu]:
    """What was found out since the host was booted; {} where it can't be read."""
    try:
        with open(path, "rb") as file:
            document = json.loads(file.read())
        return {key: Qemu(**value) for key, value in document["known"].items()} if document["boot"] == boot else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write_known(path: str, boot: str, known: Mapping[str, Qemu]) -> None:
    """Lost at a crash, and found out again then."""
    document = {"boot": boot, "known": {key: asdict(qemu) for key, qemu in known.items()}}
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fresh = f"{path}.new-{os.getpid()}"
    with open(fresh, "w", encoding="utf-8") as file:
        json.dump(document, file)
    os.rename(fresh, path)


def _ask_version(program: str) -> tuple[int, ...]:
    status, output = _run([program, "--version"])
    if status:
        reason = output.strip().rpartition("\n")[2][-300:] or f"it ends with status {status}"
        raise HostFailed(f"{program} doesn't run: {reason}", "reinstall QEMU")
    version = parse_version(output)
    check_version(program, version)
    return version


def _run(argv: list[str]) -> tuple[int, str]:
    """Status and output. Imports in here, as in `parse_version`: what is known already is asked for by every start."""
    import subprocess

    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", timeout=20,
        )  # fmt: skip
    except OSError as error:
        raise HostFailed(f"{argv[0]} can't be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise HostFailed(f"{argv[0]} doesn't answer") from error
    return done.returncode, done.stdout
