"""What on the host keeps a VM machine from working, whether or not it runs: a probe for each cause, and its fix."""

from __future__ import annotations

import os
import shutil
import subprocess

from guest_agent.wire.errors import HostvmError
from hostvm.machines.finding import Finding
from hostvm.machines.vm.durable import read_json
from hostvm.machines.vm.ground import Ground
from hostvm.machines.vm.host import boot_id, host_arch, host_facts
from hostvm.machines.vm.qemu import LEAST_VERSION, find_program, identity_of, parse_version, read_known
from hostvm.machines.vm.start import check_socket_path
from hostvm.machines.vm.state import parse_saved_state
from vm_images.guest.image import find_image, verify_image

#: Free MiB below which a machine can't write down its state, or its guest its files.
_LEAST_FREE = 1024

#: (first bad version, first good one after it or () for none yet, accelerator, what goes wrong).
_BAD_VERSIONS: tuple[tuple[tuple[int, ...], tuple[int, ...], str, str], ...] = (
    # gitlab.com/qemu-project/qemu/-/issues/3433: 10.2.2 is fine.
    ((11, 0, 0), (11, 0, 1), "hvf", "an idle guest keeps two CPUs of a Mac busy"),
)


def probe_folders(ground: Ground) -> list[Finding]:
    places = {"DATA": ground.machine.folder, "RUN": ground.machine.run, "CACHE": ground.paths.cache}
    return [_folder(name, path, private=name != "CACHE") for name, path in places.items()]


def _folder(name: str, path: str, private: bool) -> Finding:
    subject = f"folder {path}"
    fix = f"set HOSTVM_{name} to another one, or make this one yours: sudo chown -R $USER '{path}'"
    if not os.path.exists(path):
        above = path
        while not os.path.exists(above):
            above = os.path.dirname(above) or "/"
        if os.access(above, os.W_OK | os.X_OK):
            return Finding(subject)
        return Finding(subject, f"it can't be made: {above} isn't writable", fix)
    if not os.access(path, os.W_OK | os.X_OK):
        return Finding(subject, "it isn't writable", fix)
    if private and os.stat(path).st_mode & 0o077:
        return Finding(subject, "other users may look into it", f"chmod 700 '{path}'")
    return Finding(subject)


def probe_socket_path(ground: Ground) -> list[Finding]:
    try:
        check_socket_path(ground.machine)
    except HostvmError as error:
        return [Finding("path of the sockets", error.message, error.hint)]
    return [Finding(f"sockets in {ground.machine.run}")]


def probe_qemu(ground: Ground) -> list[Finding]:
    try:
        program = find_program(ground.spec.arch, ground.environment)
    except HostvmError as error:
        return [Finding("QEMU", error.message, error.hint)]
    version = ask_version(program)
    text = ".".join(map(str, version))
    findings = [check_version(program, version), _accelerator(ground, program)]
    accelerator = known_accelerator(ground, program)
    for first, after, affected, problem in _BAD_VERSIONS:
        if first <= version < after and accelerator == affected:
            fix = f"install another version than {text}, or name one: HOSTVM_QEMU=/path/of/qemu-system-..."
            findings.append(Finding(f"QEMU {text}", f"this version is known to be bad: {problem}", fix))
    return findings


def ask_version(program: str) -> tuple[int, ...]:
    """() where it doesn't say."""
    done = subprocess.run(
        [program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=20
    )
    return parse_version(done.stdout)


def check_version(program: str, version: tuple[int, ...]) -> Finding:
    text = ".".join(map(str, version)) or "of an unknown version"
    if version[:2] >= LEAST_VERSION:
        return Finding(f"QEMU {text} ({program})")
    least = ".".join(map(str, LEAST_VERSION))
    fix = "upgrade QEMU, or name another one: HOSTVM_QEMU=/path/of/qemu-system-..."
    return Finding(f"QEMU ({program})", f"it is {text}; hostvm needs {least} or later", fix)


def known_accelerator(ground: Ground, program: str) -> str:
    """What was found out since the host was booted; "" before a machine was started."""
    wanted = ground.environment.get("HOSTVM_ACCEL", "")
    known = read_known(ground.paths.accelerators, boot_id())
    entry = known.get(f"{ground.spec.arch} {wanted} {identity_of(program)}")
    return entry.accelerator if entry else wanted


def _accelerator(ground: Ground, program: str) -> Finding:
    accelerator = known_accelerator(ground, program)
    if not accelerator:
        return Finding("accelerator (found out at the first start)")
    if accelerator != "tcg":
        return Finding(f"accelerator {accelerator}")
    return Finding("accelerator", *why_emulated(ground.spec.arch, host_arch(), "/dev/kvm"), warning=True)


def why_emulated(guest: str, host: str, device: str) -> tuple[str, str]:
    """(what is the matter, what helps) where every instruction of the guest is translated."""
    slow = "the guest is emulated, which is 5 to 20 times slower"
    if guest != host:
        return f"{slow}: it is for {guest}, this host is {host}", "make a machine of this host's architecture"
    if not os.path.exists(device):
        if os.uname().sysname == "Darwin":
            return f"{slow}: Hypervisor.framework didn't work", "look at: sysctl kern.hv_support"
        return f"{slow}: there is no {device}", "turn virtualisation on in the firmware, and: modprobe kvm"
    if not os.access(device, os.R_OK | os.W_OK):
        return f"{slow}: this user may not use {device}", "sudo usermod -aG kvm $USER, then log in again"
    return f"{slow}: {device} is there, but a guest doesn't run with it", "ask whoever runs the VM that this host is"


def probe_memory(ground: Ground) -> list[Finding]:
    return [check_memory(ground.spec.memory, host_facts().memory)]


def check_memory(wanted: int, there: int) -> Finding:
    """Both in MiB."""
    subject, fix = f"memory ({wanted} MiB for the machine)", "give it less: hostvm machine set --memory 2g"
    if wanted > there:
        return Finding(subject, f"this host has only {there} MiB", fix)
    if wanted > there * 3 // 4:
        return Finding(subject, f"that is more than three quarters of this host's {there} MiB", fix, warning=True)
    return Finding(subject)


def probe_disk(ground: Ground) -> list[Finding]:
    folder = ground.machine.folder
    while not os.path.exists(folder):
        folder = os.path.dirname(folder) or "/"
    return [check_disk(folder, shutil.disk_usage(folder).free >> 20, ground.spec.memory)]


def check_disk(folder: str, free: int, memory: int) -> Finding:
    """Both in MiB."""
    subject, fix = f"disk ({free} MiB free for {folder})", "make room, or set HOSTVM_DATA to a folder on another disk"
    if free < _LEAST_FREE:
        return Finding(subject, "the machine's disk may fill up the host's at any moment", fix)
    if free < _LEAST_FREE + memory:
        return Finding(subject, f"{memory} MiB of memory may not fit when the machine is suspended", fix, warning=True)
    return Finding(subject)


def probe_image(ground: Ground) -> list[Finding]:
    try:
        image = find_image(ground.paths.cache, ground.spec.arch)
        if image is None:
            fix = "the first start makes it, or: hostvm machine build-image"
            return [Finding("guest image", "there is none yet", fix, warning=True)]
        verify_image(image)
    except HostvmError as error:
        return [Finding("guest image", error.message, error.hint)]
    return [Finding(f"guest image (Linux {image.kernel_version})")]


def probe_set_aside(ground: Ground) -> list[Finding]:
    """What couldn't be read, and was put aside under another name."""
    try:
        names = sorted(name for name in os.listdir(ground.machine.folder) if ".unreadable-" in name)
    except FileNotFoundError:
        names = []
    fix = f"look at it, then remove it from {ground.machine.folder}"
    return [Finding(f"file {name}", "it could not be read and was set aside", fix, warning=True) for name in names]


def probe_saved_state(ground: Ground) -> list[Finding]:
    machine = ground.machine
    fix = "nothing to do: the next start boots anew, with the disk as it is"
    try:
        document = read_json(machine.state_record)
        if document is None:
            return [Finding("saved state (none)")]
        parse_saved_state(document)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [Finding("saved state", f"it can't be read: {error}", fix, warning=True)]
    missing = [path for path in (machine.state, machine.ram) if not os.path.exists(path)]
    if missing:
        return [Finding("saved state", f"it isn't whole: there is no {missing[0]}", fix, warning=True)]
    return [Finding("saved state")]
