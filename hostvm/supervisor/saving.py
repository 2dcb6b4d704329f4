"""Saved states and templates as they are written: in an order by which half of one is never resumed."""

from __future__ import annotations

import os

from hostvm.machines.vm.durable import replace_file, replace_json, sync_file
from hostvm.machines.vm.launch import forget_old_templates, mark_of, new_state, template_key
from hostvm.machines.vm.paths import MachinePaths, VmPaths
from hostvm.machines.vm.sparse import copy_sparse
from hostvm.machines.vm.state import Identity


def record_state(machine: MachinePaths, identity: Identity) -> str:
    """After QEMU has ended: the state is now one that is resumed. Returns its id. Raises HostFailed."""
    saved = new_state(identity, mark_of(machine.disk))
    sync_file(machine.state)
    replace_json(machine.state_record, saved.to_json())
    return saved.id


def make_durable(machine: MachinePaths, state: str) -> None:
    """Puts the memory on the disk, which takes seconds, and says that it is there.

    Nothing waits for it: until then the state is good as long as the host doesn't go down.
    """
    sync_file(machine.ram)
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
