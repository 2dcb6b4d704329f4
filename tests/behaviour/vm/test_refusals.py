"""A machine that can't start says why in one line, and what helps; nothing is left running, and nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.behaviour.conftest import MachineMaker
from tests.behaviour.harness.vm import CACHE, VmMachine

ARCH = os.uname().machine


@pytest.fixture
def cold(fresh_machine: MachineMaker) -> VmMachine:
    """A machine that was never started."""
    machine = fresh_machine()
    assert isinstance(machine, VmMachine)
    return machine


def refused(machine: VmMachine, environment: Mapping[str, str]) -> tuple[str, str]:
    """(message, hint) of the next command; the doctor finds it broken as well."""
    done = machine.attempt("ps", environment=environment)
    assert done.code == 1 and done.out == ""
    message, hint = done.err.splitlines()[:2]
    told = machine.attempt("doctor", environment=environment)
    assert told.code == 1 and "FAIL" in told.out, told
    machine.check_stopped()
    return message, hint


def test_no_qemu_and_too_old_a_one(cold: VmMachine, tmp_path: Path) -> None:
    message, hint = refused(cold, {"HOSTVM_QEMU": "/no/such/qemu"})
    assert message == "HOSTVM_QEMU=/no/such/qemu is no program" and hint.startswith("hint: ")
    old = tmp_path / "qemu"
    old.write_text("#!/bin/sh\necho QEMU emulator version 6.2.0\n")
    old.chmod(0o755)
    message, hint = refused(cold, {"HOSTVM_QEMU": str(old)})
    assert message == f"{old} is version 6.2.0, and hostvm needs 7.2 or later" and "upgrade" in hint


def test_an_accelerator_that_isnt_there(cold: VmMachine) -> None:
    done = cold.attempt("ps", environment={"HOSTVM_ACCEL": "hvf"})
    assert done.code == 1 and "invalid accelerator hvf" in done.err and "hint: " in done.err
    cold.check_stopped()


def test_a_socket_path_that_is_too_long(cold: VmMachine) -> None:
    message, hint = refused(cold, {"HOSTVM_RUN": f"{cold.folder}/{'r' * 90}"})
    assert "too long" in message and "HOSTVM_RUN names a shorter folder" in hint


def test_more_memory_than_there_is(cold: VmMachine) -> None:
    cold("machine", "set", "--memory", "4096g")
    message, hint = refused(cold, {})
    assert message.startswith("the machine wants 4194304 MiB of memory") and "hostvm machine set --memory" in hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cut", "the guest image is damaged"),
        ("arch", "is for riscv64, not for"),
        ("garbage", "cannot read the guest image"),
    ],
)
def test_an_image_that_cant_be_used(cold: VmMachine, tmp_path: Path, change: str, message: str) -> None:
    folder = tmp_path / "guest" / ARCH
    folder.mkdir(parents=True)
    for name in ("kernel", "rootfs.cpio"):
        (folder / name).symlink_to(f"{CACHE}/guest/{ARCH}/{name}")
    description = json.loads(Path(f"{CACHE}/guest/{ARCH}/image.json").read_text())
    if change == "cut":
        (folder / "kernel").unlink()
        (folder / "kernel").write_bytes(b"\x7fELF")
    text = json.dumps({**description, "arch": "riscv64"} if change == "arch" else description)
    (folder / "image.json").write_text("{" if change == "garbage" else text)
    told, hint = refused(cold, {"HOSTVM_CACHE": str(tmp_path)})
    assert message in told and hint == "hint: make it anew: hostvm machine build-image"


_PANICS_FIRST = """\
#!{python} -I
import os, sys
words = sys.argv[1:]
if "-append" in words and "virtio-serial-pci" in " ".join(words):
    try:
        os.mkdir({flag!r})
        words[words.index("-append") + 1] = "quiet panic=-1 console=ttyS0 console=ttyAMA0 rdinit=/no init=/no"
    except FileExistsError:
        pass
os.execv({qemu!r}, [{qemu!r}, *words])
"""


def test_a_guest_whose_kernel_panicked_is_booted_once_more(cold: VmMachine, tmp_path: Path) -> None:
    """Seen twice in some seventy boots under TCG ("Fatal exception in interrupt"), and never at the next try."""
    cache, stand_in = tmp_path / "cache", tmp_path / "qemu"
    cache.mkdir()
    (cache / "guest").symlink_to(f"{CACHE}/guest")
    qemu = shutil.which(f"qemu-system-{ARCH}")
    stand_in.write_text(_PANICS_FIRST.format(python=sys.executable, flag=str(tmp_path / "begun"), qemu=qemu))
    stand_in.chmod(0o755)
    done = cold.attempt("ps", "-q", environment={"HOSTVM_CACHE": str(cache), "HOSTVM_QEMU": str(stand_in)})
    assert (done.code, done.out) == (0, "")
    assert "the guest's kernel panicked and was booted again" in done.err
