"""`doctor`: each cause that we know of, a probe for it, and the text of its fix.

The probes look at the host only; what the engine knows better it says itself, when it is asked or started.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

from guest_agent.wire.errors import HostvmError
from hostvm.cli.arguments import Arguments
from hostvm.cli.output import write_out
from hostvm.machines.connect import check
from hostvm.machines.native import is_running
from hostvm.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context

#: sockaddr_un.sun_path of macOS, the shortest there is; Linux has 108.
_SOCKET_PATH_LIMIT = 104


@dataclass(frozen=True)
class Finding:
    """What a probe found: `problem` "" means that all is well, `warning` that hostvm works all the same."""

    subject: str
    problem: str = ""
    fix: str = ""
    warning: bool = False


def doctor(context: Context, arguments: Arguments) -> int:
    """Prints a line for each probe; the exit code is 1 if one found a problem."""
    findings = [probe(context.settings) for probe in PROBES]
    for finding in findings:
        mark = "ok" if not finding.problem else "warn" if finding.warning else "FAIL"
        write_out(f"{mark:<5}{finding.subject}{': ' + finding.problem if finding.problem else ''}\n")
        if finding.problem and finding.fix:
            write_out(f"     hint: {finding.fix}\n")
    return 1 if any(finding.problem and not finding.warning for finding in findings) else 0


def probe_system(settings: Settings) -> Finding:
    if sys.platform == "linux":
        return Finding("operating system")
    return Finding("operating system", f"{sys.platform} has no containers of its own", "run hostvm on a Linux host")


def probe_socket_path(settings: Settings) -> Finding:
    subject = f"socket {settings.socket}"
    if len(os.fsencode(settings.socket)) < _SOCKET_PATH_LIMIT:
        return Finding(subject)
    return Finding(
        subject, f"the path is longer than {_SOCKET_PATH_LIMIT - 1} bytes", "set HOSTVM_RUN to a shorter folder"
    )


def probe_engine(settings: Settings) -> Finding:
    try:
        check(settings)
    except HostvmError as error:
        return Finding("engine", error.message, error.hint)
    if is_running(settings):
        return Finding("engine")
    if os.path.exists(settings.socket) and not os.access(settings.socket, os.W_OK):
        return Finding("engine", "this user may not use its socket", "sudo usermod -aG hostvm $USER, then log in again")
    if settings.host:
        return Finding("engine", "nobody answers there", "look at HOSTVM_HOST")
    return Finding("engine", "it isn't running", "the next command that needs it starts it (as root)", warning=True)


def probe_root(settings: Settings) -> Finding:
    if os.geteuid() == 0 or is_running(settings):
        return Finding("permission to start it")
    return Finding("permission to start it", "only root may", "sudo hostvm machine start")


def probe_program(name: str, package: str, alternatives: tuple[str, ...] = ()) -> Callable[[Settings], Finding]:
    """A probe for a program that the engine needs."""

    def probe(settings: Settings) -> Finding:
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        if any(shutil.which(program, path=path) for program in (name, *alternatives)):
            return Finding(f"program {name}")
        return Finding(f"program {name}", "not found", f"apt-get install {package}")

    return probe


def probe_overlay(settings: Settings) -> Finding:
    return _probe_filesystem("overlay", "layers of images", "modprobe overlay")


def _probe_filesystem(name: str, purpose: str, fix: str) -> Finding:
    try:
        with open("/proc/filesystems", encoding="ascii") as file:
            known = {line.split()[-1] for line in file if line.strip()}
    except OSError:
        known = set()
    subject = f"kernel has {name} ({purpose})"
    return Finding(subject) if name in known else Finding(subject, "no, or its module isn't loaded", fix, warning=True)


def probe_cgroups(settings: Settings) -> Finding:
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return Finding("cgroups (v2)")
    if os.path.isdir("/sys/fs/cgroup/memory"):
        hybrid = os.path.isdir("/sys/fs/cgroup/unified")
        return Finding(f"cgroups ({'hybrid' if hybrid else 'v1'})")
    return Finding("cgroups", "none are mounted", "limits won't hold; mount them (systemd does)", warning=True)


def probe_forwarding(settings: Settings) -> Finding:
    try:
        with open("/proc/sys/net/ipv4/ip_forward", encoding="ascii") as file:
            enabled = file.read().strip() == "1"
    except OSError:
        enabled = False
    if enabled:
        return Finding("IPv4 forwarding")
    return Finding("IPv4 forwarding", "off", "the engine turns it on when it starts", warning=True)


PROBES: tuple[Callable[[Settings], Finding], ...] = (
    probe_system,
    probe_socket_path,
    probe_engine,
    probe_root,
    probe_program("crun", "crun", ("runc",)),
    probe_program("nft", "nftables"),
    probe_overlay,
    probe_cgroups,
    probe_forwarding,
)
