"""Which saved state may be resumed: only one in which nothing at all has changed."""

from __future__ import annotations

import os
from dataclasses import fields, replace

import pytest

from hostvm.machines.vm.durable import replace_file, replace_json
from hostvm.machines.vm.host import boot_id
from hostvm.machines.vm.launch import mark_of, new_state, take_saved_state, take_template, template_key
from hostvm.machines.vm.paths import MachinePaths, VmPaths
from hostvm.machines.vm.state import DiskMark, Identity, SavedState, parse_saved_state, why_not_resume

IDENTITY = Identity("qemu 7.2", "image", "code", "hardware", "tcg")
MARK = DiskMark(1 << 30, 123456789)
SAVED = SavedState("0123", IDENTITY, "boot-1", MARK)


def test_round_trip() -> None:
    assert parse_saved_state(SAVED.to_json()) == SAVED
    template = replace(SAVED, disk=None)
    assert parse_saved_state(template.to_json()) == template


@pytest.mark.parametrize(
    "broken", [{}, {"id": 1}, {**SAVED.to_json(), "disk": {"size": "1"}}, {**SAVED.to_json(), "x": 1}]
)
def test_what_is_no_record(broken: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no "):
        parse_saved_state(broken)


def test_nothing_has_changed() -> None:
    assert why_not_resume(SAVED, IDENTITY, MARK, "boot-1", "") == ""


@pytest.mark.parametrize("name", [field.name for field in fields(Identity)])
def test_any_other_identity_is_refused(name: str) -> None:
    assert why_not_resume(SAVED, replace(IDENTITY, **{name: "other"}), MARK, "boot-1", "0123")


def test_another_disk_is_refused() -> None:
    assert "disk" in why_not_resume(SAVED, IDENTITY, replace(MARK, mtime_ns=5), "boot-1", "0123")
    assert "disk" in why_not_resume(SAVED, IDENTITY, replace(MARK, size=5), "boot-1", "0123")


def test_a_reboot_needs_the_memory_on_the_disk() -> None:
    """A power cut just after the save leaves the record, and a memory file that was never written back."""
    assert "host" in why_not_resume(SAVED, IDENTITY, MARK, "boot-2", "")
    assert "host" in why_not_resume(SAVED, IDENTITY, MARK, "boot-2", "the one before")
    assert why_not_resume(SAVED, IDENTITY, MARK, "boot-2", "0123") == ""


@pytest.fixture
def machine(tmp_path: object) -> MachinePaths:
    """With a state that was saved just now."""
    paths = MachinePaths(f"{tmp_path}/m", f"{tmp_path}/r")
    os.makedirs(paths.folder)
    for path in (paths.disk, paths.ram, paths.state):
        replace_file(path, b"content")
    replace_json(paths.state_record, new_state(IDENTITY, mark_of(paths.disk)).to_json())
    return paths


def test_a_saved_state_is_taken_once(machine: MachinePaths) -> None:
    descriptor, note = take_saved_state(machine, IDENTITY)
    assert os.read(descriptor, 100) == b"content"
    assert note == ""
    os.close(descriptor)
    assert take_saved_state(machine, IDENTITY) == (-1, "")


def test_a_disk_that_was_written_to(machine: MachinePaths) -> None:
    os.utime(machine.disk, (1, 1))
    assert take_saved_state(machine, IDENTITY) == (
        -1,
        "the saved state was not resumed: the data disk was changed since",
    )
    assert len([name for name in os.listdir(machine.folder) if "unreadable" in name]) == 2


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe"])
def test_a_record_that_cant_be_read_is_set_aside(machine: MachinePaths, content: bytes) -> None:
    replace_file(machine.state_record, content)
    descriptor, note = take_saved_state(machine, IDENTITY)
    assert descriptor == -1
    assert "can't be read" in note
    assert os.path.exists(machine.ram)
    assert take_saved_state(machine, IDENTITY) == (-1, "")


def test_a_state_that_is_missing(machine: MachinePaths) -> None:
    os.unlink(machine.state)
    assert take_saved_state(machine, IDENTITY)[0] == -1


def test_templates(tmp_path: object) -> None:
    paths = VmPaths(f"{tmp_path}/d", f"{tmp_path}/r", f"{tmp_path}/c")
    template = paths.template(template_key(IDENTITY))
    ram = f"{tmp_path}/ram"
    assert take_template(paths, IDENTITY, ram) == -1
    os.makedirs(template.folder)
    for path in (template.ram, template.state):
        replace_file(path, b"warm")
    replace_json(template.record, replace(new_state(IDENTITY, None), boot="another").to_json())
    descriptor = take_template(paths, IDENTITY, ram)
    assert os.read(descriptor, 9) == b"warm"
    os.close(descriptor)
    with open(ram, "rb") as file:
        assert file.read() == b"warm"
    assert take_template(paths, replace(IDENTITY, code="other"), ram) == -1


def test_a_broken_template_is_forgotten(tmp_path: object) -> None:
    paths = VmPaths(f"{tmp_path}/d", f"{tmp_path}/r", f"{tmp_path}/c")
    template = paths.template(template_key(IDENTITY))
    os.makedirs(template.folder)
    replace_file(template.record, b"{}")
    assert take_template(paths, IDENTITY, f"{tmp_path}/ram") == -1
    assert not os.path.exists(template.folder)


def test_this_boot_has_a_name() -> None:
    assert boot_id() == boot_id() != ""
