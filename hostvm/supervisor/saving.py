"""Saved states and templates as they are written: in an order by which half of one is never resumed."""

from __future__ import annotations

import os

from guest_agent.wire.errors import HostFailed, HostvmError, Unavailable
from hostvm.machines.vm.durable import replace_file, replace_json, sync_file, sync_folder
from hostvm.machines.vm.launch import forget_old_templates, mark_of, new_state, template_key
from hostvm.machines.vm.paths import MachinePaths, VmPaths
from hostvm.machines.vm.sparse import copy_sparse
from hostvm.machines.vm.state import Identity

#: Seconds for QEMU to write a state: 0.1.
SAVE_DEADLINE = 60.0


def record_state(machine: MachinePaths, identity: Identity) -> str:
    """While QEMU stands still, and won't go on: the state is now one that is resumed, until the host goes down.

    Returns its id. Raises HostFailed.
    """
    saved = new_state(identity, mark_of(machine.disk))
    replace_json(machine.state_record, saved.to_json(), durable=False)
    return saved.id


def explain_unsaved(error: HostvmError | OSError) -> HostvmError:
    """What whoever wanted the state saved is told."""
    if isinstance(error, HostvmError):
        return error
    if isinstance(error, TimeoutError):
        return Unavailable("the state wasn't saved in time")
    return HostFailed(f"the state can't be saved: {error.strerror}")


def make_durable(machine: MachinePaths, state: str) -> None:
    """Puts all of it on the disk, which takes seconds for the memory, and says that it is there. Nothing waits for it.

    A machine that was resumed meanwhile has consumed the record: that is fine.
    """
    try:
        for path in (machine.ram, machine.state, machine.state_record):
            sync_file(path)
    except FileNotFoundError:
        return
    sync_folder(machine.folder)
    replace_file(machine.state_durable, state.encode() + b"\n")


def copy_template(paths: VmPaths, machine: MachinePaths, identity: Identity) -> None:
    """The memory of the machine that stands still; the state is there already. Raises OSError."""
    template = paths.template(template_key(identity))
    copy_sparse(machine.ram, template.ram)


def record_template(paths: VmPaths, identity: Identity) -> None:
    """From here on machines begin with it. Raises OSError, HostFailed."""
    template = paths.template(template_key(identity))
    sync_file(template.state)
    sync_file(template.ram)
    replace_json(template.record, new_state(identity, None).to_json())
    forget_old_templates(paths)


def make_template_folder(paths: VmPaths, identity: Identity) -> str:
    """Where the state of a template goes. Raises OSError."""
    template = paths.template(template_key(identity))
    os.makedirs(template.folder, mode=0o700, exist_ok=True)
    return template.state
