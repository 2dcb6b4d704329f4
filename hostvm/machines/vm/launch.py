"""How a machine is started: what is there is looked at, the way is chosen, files are made ready.

Three ways, from 0.1 to 4 seconds: its own saved state; the *template* (the state of a machine that is warm, with no
disk mounted yet, made at the first boot of an image); a boot. Nothing heavy is imported here: it is on the way of a
start that takes 0.2 seconds.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from guest_agent.wire.errors import HostFailed, InvalidArgument, NotFound
from hostvm.machines.vm.argv import Boot, Hardware, Plan, hardware_digest, plan_argv
from hostvm.machines.vm.code import digest_of, read_code
from hostvm.machines.vm.durable import read_json, remove_file, set_aside, sync_folder
from hostvm.machines.vm.host import boot_id, host_facts
from hostvm.machines.vm.paths import MachinePaths, VmPaths
from hostvm.machines.vm.qemu import Qemu, find_qemu
from hostvm.machines.vm.sparse import copy_sparse, make_blank
from hostvm.machines.vm.spec import HostFacts, MachineSpec
from hostvm.machines.vm.state import DiskMark, Identity, SavedState, parse_saved_state, why_not_resume
from vm_images.guest.image import GuestImage, find_image, verify_image

_GIB = 1 << 30
#: Templates that are kept: other machines may have other sizes.
_KEPT_TEMPLATES = 4
#: Bytes that a start leaves free on the disk of the machine's files.
_SPARED_SPACE = 256 << 20
#: Logs are begun anew above this, at a start.
_LONGEST_LOG = 4 << 20

Say = Callable[[str], None]


class Way(StrEnum):
    """How a QEMU came to its guest."""

    SAVED = "saved"
    TEMPLATE = "template"
    BOOT = "boot"
    ADOPTED = "adopted"


@dataclass(frozen=True, slots=True)
class Launch:
    """A QEMU to be started. `state` is the descriptor of a saved state, -1 at a boot. `note`: why it isn't resumed."""

    way: Way
    argv: list[str]
    identity: Identity
    state: int = -1
    note: str = ""
    initrd: str = ""


def prepare(paths: VmPaths, spec: MachineSpec, environment: Mapping[str, str], say: Say) -> Launch:
    """Chooses the way and makes the files ready. `say` hears of what takes time.

    A saved state is consumed by this: its record is gone when it returns, because the memory changes from there on.
    Raises HostvmError.
    """
    machine = paths.machine(spec.name)
    image = require_image(paths, spec.arch)
    if not os.path.exists(paths.accelerators):
        say("looking for an accelerator")
    qemu = find_qemu(paths, spec.arch, environment, image.kernel)
    hardware = Hardware(spec.arch, qemu.accelerator, spec.cpus, spec.memory, qemu.sandbox)
    identity = Identity(qemu.identity, image.id, digest_of(read_code()), hardware_digest(hardware), qemu.accelerator)
    check_room(machine, spec, host_facts())
    _turn_log(machine.guest_log)
    if not os.path.exists(machine.disk):
        make_blank(machine.disk, spec.disk * _GIB)
    try:
        return _choose(paths, spec, qemu, hardware, identity, image, say)
    except OSError as error:
        raise HostFailed(f"can't make the machine's files ready: {error.strerror}: {error.filename}") from error


def check_room(machine: MachinePaths, spec: MachineSpec, host: HostFacts) -> None:
    """Raises HostFailed, InvalidArgument. A page of the memory's file for which the disk has no room kills QEMU."""
    if spec.memory > host.memory:
        raise InvalidArgument(
            f"the machine wants {spec.memory} MiB of memory, and this host has {host.memory}",
            f"hostvm machine set --memory {max(512, host.memory // 2)}m {spec.name}",
        )
    space = os.statvfs(machine.folder)
    have = os.stat(machine.ram).st_blocks * 512 if os.path.exists(machine.ram) else 0
    free, wanted = space.f_bavail * space.f_frsize + have, (spec.memory << 20) + _SPARED_SPACE
    if free < wanted:
        raise HostFailed(
            f"not enough disk space for the machine's memory: {free >> 20} MiB are free, {wanted >> 20} are needed",
            f"free some below {machine.folder}, or give the machine less: hostvm machine set --memory",
        )


def diagnose_boot(paths: VmPaths, arch: str, launch: Launch) -> None:
    """After a boot that failed: what it was booted from is looked through. Raises DataDamaged, NotFound.

    The initial RAM disk is made anew by the next start in any case.
    """
    if launch.initrd:
        remove_file(launch.initrd)
    verify_image(require_image(paths, arch))


def require_image(paths: VmPaths, arch: str) -> GuestImage:
    """Raises NotFound, DataDamaged."""
    image = find_image(paths.cache, arch)
    if image is None:
        raise NotFound("there is no guest image yet", "make it: hostvm machine build-image")
    return image


def _choose(
    paths: VmPaths, spec: MachineSpec, qemu: Qemu, hardware: Hardware, identity: Identity, image: GuestImage, say: Say
) -> Launch:
    machine = paths.machine(spec.name)

    def planned(boot: Boot) -> list[str]:
        return plan_argv(Plan(qemu.program, hardware, machine, boot))

    state, note = take_saved_state(machine, identity)
    if state >= 0:
        return Launch(Way.SAVED, planned(Boot(incoming=True)), identity, state)
    grow_disk(machine.disk, spec.disk * _GIB)
    remove_file(machine.ram)
    state = take_template(paths, identity, machine.ram)
    if state >= 0:
        return Launch(Way.TEMPLATE, planned(Boot(incoming=True)), identity, state, note)
    say("booting")
    _turn_log(machine.console, 0)
    from hostvm.machines.vm.handover import ensure_initrd

    initrd = ensure_initrd(image, paths.cache)
    booted = replace(identity, code=initrd.code)  # what is in it, should the package have changed just now
    return Launch(Way.BOOT, planned(Boot(image.kernel, initrd.path)), booted, -1, note, initrd.path)


# -- saved states


def take_saved_state(machine: MachinePaths, identity: Identity) -> tuple[int, str]:
    """(descriptor, ""), or (-1, why there is nothing to resume: "" where nothing was saved)."""
    try:
        document = read_json(machine.state_record)
        if document is None:
            return -1, ""
        saved = parse_saved_state(document)
        state = os.open(machine.state, os.O_RDONLY | os.O_CLOEXEC)
    except (ValueError, OSError) as error:
        return -1, _set_state_aside(machine, f"can't be read ({error})")
    reason = why_not_resume(saved, identity, mark_of(machine.disk), boot_id(), _read_text(machine.state_durable))
    if reason:
        os.close(state)
        return -1, _set_state_aside(machine, reason)
    remove_file(machine.state_record)
    return state, ""


def forget_record(machine: MachinePaths) -> None:
    """Before a machine goes on that has been saved: from here on it isn't what was saved."""
    remove_file(machine.state_record)
    sync_folder(machine.folder)


def forget_saved_state(machine: MachinePaths) -> None:
    """After a resume: what was saved is no longer true, and a power cut must not bring it back."""
    remove_file(machine.state)
    sync_folder(machine.folder)


def _set_state_aside(machine: MachinePaths, reason: str) -> str:
    for path in (machine.state_record, machine.state):
        if os.path.exists(path):
            set_aside(path)
    return f"the saved state was not resumed: {reason}"


def mark_of(disk: str) -> DiskMark:
    status = os.stat(disk)
    return DiskMark(status.st_size, status.st_mtime_ns)


# -- templates


def template_key(identity: Identity) -> str:
    """A folder's name."""
    parts = (identity.qemu, identity.image, identity.code, identity.hardware, identity.accelerator)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def take_template(paths: VmPaths, identity: Identity, ram: str) -> int:
    """The state's descriptor, with the memory copied to `ram`; -1 where there is none that can be used.

    A template's record is written when all of it is on the disk, so it is good after any reboot.
    """
    template = paths.template(template_key(identity))
    try:
        document = read_json(template.record)
        if document is None:
            return -1
        saved = parse_saved_state(document)
        if why_not_resume(saved, identity, None, saved.boot, ""):
            raise ValueError("not what its name says")
        state = os.open(template.state, os.O_RDONLY | os.O_CLOEXEC)
        copy_sparse(template.ram, ram)
    except (ValueError, OSError):
        forget_template(paths, identity)
        return -1
    return state


def have_template(paths: VmPaths, identity: Identity) -> bool:
    return os.path.exists(paths.template(template_key(identity)).record)


def forget_template(paths: VmPaths, identity: Identity) -> None:
    """It is in a cache, and made again at the next boot."""
    folder = paths.template(template_key(identity)).folder
    _remove_flat(folder)


def forget_old_templates(paths: VmPaths) -> None:
    """Keeps the latest few."""
    entries = sorted(os.scandir(paths.templates), key=lambda entry: entry.stat().st_mtime)
    for entry in entries[:-_KEPT_TEMPLATES]:
        _remove_flat(entry.path)


def new_state(identity: Identity, disk: DiskMark | None) -> SavedState:
    return SavedState(os.urandom(8).hex(), identity, boot_id(), disk)


def _remove_flat(folder: str) -> None:
    try:
        for entry in os.scandir(folder):
            os.unlink(entry.path)
        os.rmdir(folder)
    except OSError:
        pass


# -- files


def grow_disk(path: str, size: int) -> None:
    """Never shrinks."""
    if os.stat(path).st_size < size:
        os.truncate(path, size)


def _turn_log(path: str, longest: int = _LONGEST_LOG) -> None:
    """Keeps what was said before in PATH.1."""
    try:
        if os.stat(path).st_size > longest:
            os.rename(path, f"{path}.1")
    except FileNotFoundError:
        pass


def _read_text(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""
