"""Finding QEMU and its accelerator, by stand-ins for the program."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from guest_agent.wire.errors import HostFailed, Unsupported
from hostvm.machines.vm import accelerator
from hostvm.machines.vm.accelerator import plan_candidates, plan_proof, prove
from hostvm.machines.vm.paths import VmPaths
from hostvm.machines.vm.qemu import check_version, find_program, find_qemu, parse_version, read_known

DEBIAN = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright (c) 2003-2022 Fabrice Bellard"


@pytest.fixture
def paths(tmp_path: Path) -> VmPaths:
    return VmPaths(str(tmp_path / "d"), str(tmp_path / "r"), str(tmp_path / "c"))


def stand_in(folder: Path, script: str, name: str = "qemu-system-x86_64") -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (DEBIAN, (7, 2, 22)),
        ("QEMU emulator version 10.0.2", (10, 0, 2)),
        ("QEMU emulator version 9.1", (9, 1)),
        ("", ()),
    ],
)
def test_versions(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("version", [(), (4, 2), (7, 1, 9)])
def test_too_old(version: tuple[int, ...]) -> None:
    with pytest.raises(Unsupported, match=r"needs 7\.2 or later"):
        check_version("qemu", version)


def test_no_qemu(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="qemu-system-riscv") as caught:
        find_program("riscv", {"PATH": str(tmp_path)})
    assert "install" in caught.value.hint
    with pytest.raises(Unsupported, match="HOSTVM_QEMU"):
        find_program("x86_64", {"HOSTVM_QEMU": "/no/such"})


def test_found_out_once(paths: VmPaths, tmp_path: Path) -> None:
    program = stand_in(tmp_path, f'echo "$@" >> {tmp_path}/calls; echo "QEMU emulator version 8.2.1"')
    environment = {"PATH": str(tmp_path), "HOSTVM_ACCEL": "tcg"}
    qemu = find_qemu(paths, "x86_64", environment, "kernel")
    assert (qemu.program, qemu.version, qemu.accelerator) == (program, "8.2.1", "tcg")
    calls = (tmp_path / "calls").read_text()
    assert find_qemu(paths, "x86_64", environment, "kernel") == qemu
    assert (tmp_path / "calls").read_text() == calls
    os.utime(program, (1, 1))
    assert find_qemu(paths, "x86_64", environment, "kernel").identity != qemu.identity
    assert read_known(paths.accelerators, "another boot") == {}


def test_a_qemu_that_doesnt_run(paths: VmPaths, tmp_path: Path) -> None:
    stand_in(tmp_path, "echo 'missing library' >&2; exit 127")
    with pytest.raises(HostFailed, match="missing library"):
        find_qemu(paths, "x86_64", {"PATH": str(tmp_path)}, "kernel")


@pytest.mark.parametrize(
    ("platform", "same", "kvm", "expected"),
    [
        ("darwin", True, False, ("hvf", "tcg")),
        ("darwin", False, False, ("tcg",)),
        ("linux", True, True, ("kvm", "tcg")),
        ("linux", True, False, ("tcg",)),
        ("linux", False, True, ("tcg",)),
    ],
)
def test_candidates(platform: str, same: bool, kvm: bool, expected: tuple[str, ...]) -> None:
    assert plan_candidates(platform, same, kvm) == expected


@pytest.mark.parametrize(
    ("script", "proved"),
    [
        ("echo '[ 0.5] Kernel panic - not syncing: VFS'", True),
        ("echo 'KVM: entry failed, hardware error 0x0'", False),
        ("echo 'Kernel panic'; exit 1", False),
        ("kill -ABRT $$", False),
        ("sleep 60", False),
    ],
)
def test_an_accelerator_proves_itself(
    script: str, proved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Linux machine that hostvm was written on: /dev/kvm opens, and QEMU aborts over a register that it lacks."""
    monkeypatch.setattr(accelerator, "_PROOF_DEADLINE", 0.3)
    assert prove(stand_in(tmp_path, f"exec 2>&1; {script}"), "x86_64", "kvm", "kernel") is proved


def test_the_proof_of_a_mac() -> None:
    assert " ".join(plan_proof("qemu", "aarch64", "hvf", "/k")) == (
        "qemu -nodefaults -no-user-config -display none -no-reboot -machine virt,highmem=on -accel hvf -cpu host"
        " -smp 1 -m 256M -serial stdio -kernel /k -append console=ttyAMA0 panic=-1 quiet"
    )
