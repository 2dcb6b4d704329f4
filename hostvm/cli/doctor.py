"""`doctor`: each cause that we know of, a probe for it, and the text of its fix.

The probes look at the host only; what the engine knows better it says itself, when it is asked or started.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable

from guest_agent.wire.errors import HostvmError
from hostvm import __version__
from hostvm.cli.arguments import Arguments
from hostvm.cli.machine_choice import choose, planned_machine, vm_paths
from hostvm.cli.output import write_out
from hostvm.machines.bundle import read_tail, write_bundle
from hostvm.machines.connect import check
from hostvm.machines.emulators import probe_emulators
from hostvm.machines.finding import Finding
from hostvm.machines.native import is_running
from hostvm.settings import NATIVE, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context
    from hostvm.machines.vm.ground import Ground

#: sockaddr_un.sun_path of macOS, the shortest there is; Linux has 108.
_SOCKET_PATH_LIMIT = 104


def doctor(context: Context, arguments: Arguments) -> int:
    """Prints what each probe found; the exit code is 1 if something is broken."""
    choose(context.settings, arguments.positional)
    findings = examine(context.settings)
    write_out("".join(finding.text for finding in findings))
    bundle = arguments.text("bundle")
    if bundle:
        write_out(f"\n{bundle} has:\n")
        write_out("".join(line + "\n" for line in write_bundle(bundle, collect(context.settings, findings))))
    return 1 if any(finding.broken for finding in findings) else 0


def examine(settings: Settings) -> list[Finding]:
    """What the chosen machine's probes find."""
    if settings.machine == NATIVE or settings.host:
        return [probe(settings) for probe in PROBES]
    from hostvm.machines.vm import probes

    return probes.examine(make_ground(settings))


def make_ground(settings: Settings) -> Ground:
    """What a VM machine's probes look at; one that isn't made yet is looked at as it would be made."""
    from hostvm.cli.machine_state import find_status
    from hostvm.machines.vm.ground import Ground

    machine = planned_machine(settings)
    return Ground(
        paths=vm_paths(settings),
        machine=machine.paths,
        spec=machine.spec,
        shares=machine.shares,
        environment=os.environ,
        status=find_status(machine.paths),
    )


def collect(settings: Settings, findings: list[Finding]) -> dict[str, str]:
    """The documents of a bundle, before secrets are taken out."""
    documents = {
        "findings.txt": "".join(finding.text for finding in findings),
        "host.txt": describe_host(),
        "machine.txt": f"{settings.machine}\n",
    }
    for name, path in log_files(settings).items():
        text = read_tail(path)
        if text is not None:
            documents[name] = text
    return documents


def log_files(settings: Settings) -> dict[str, str]:
    """name in the bundle -> path. Never a key, never docker's or hostvm's configuration: those hold credentials."""
    if settings.machine == NATIVE or settings.host:
        return {"engine.log": f"{settings.data}/engine.log"}
    paths = vm_paths(settings).machine(settings.machine)
    return {
        "console.log": paths.console, "guest.log": paths.guest_log, "supervisor.log": paths.log,
        "machine.json": paths.spec, "qemu.json": paths.qemu_record, "state.json": paths.state_record,
    }  # fmt: skip


def describe_host() -> str:
    """Versions, and the environment variables that hostvm looks at."""
    import platform

    own = {name: value for name, value in os.environ.items() if name.startswith("HOSTVM_")}
    lines = [
        f"hostvm {__version__}", f"python {platform.python_version()} ({sys.executable})", platform.platform(),
        *(f"{name}={value}" for name, value in sorted(own.items())),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def probe_system(settings: Settings) -> Finding:
    if sys.platform == "linux":
        return Finding("operating system")
    problem, fix = f"{sys.platform} has no containers of its own", "use a VM machine, the default here: hostvm -m vm"
    return Finding("operating system", problem, fix)


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
    lambda settings: probe_emulators(),
)
