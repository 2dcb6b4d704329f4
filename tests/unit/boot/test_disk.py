"""What the data disk is taken for, held against real file systems in files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from guest_agent.boot import disk
from guest_agent.wire.errors import DataDamaged, HostFailed


def make_disk(path: Path, size: int = 64 << 20) -> str:
    with open(path, "wb") as file:
        file.truncate(size)
    return str(path)


def test_zeros_are_a_blank_disk(tmp_path: Path) -> None:
    device = make_disk(tmp_path / "disk")
    assert disk.is_blank(device)
    assert not disk.have_ext4(device)


@pytest.mark.parametrize("offset", [0, 510, 65536, (1 << 20) - 1])
def test_a_disk_with_anything_in_it_is_not_blank(tmp_path: Path, offset: int) -> None:
    device = make_disk(tmp_path / "disk")
    with open(device, "r+b") as file:
        file.seek(offset)
        file.write(b"\1")
    assert not disk.is_blank(device)


def test_what_holds_no_file_system_of_ours_is_never_formatted(tmp_path: Path) -> None:
    device = make_disk(tmp_path / "disk")
    with open(device, "r+b") as file:
        file.write(b"someone's data")
    before = Path(device).read_bytes()
    with pytest.raises(DataDamaged, match="no file system that hostvm made"):
        disk.open_data_disk(device, str(tmp_path / "data"))
    assert Path(device).read_bytes() == before


def test_a_missing_disk_is_said(tmp_path: Path) -> None:
    with pytest.raises(HostFailed, match="no data disk"):
        disk.open_data_disk(str(tmp_path / "none"), str(tmp_path / "data"))


def test_ext4_is_known_and_its_size_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = make_disk(tmp_path / "disk", 256 << 20)
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-t", "ext4", device], check=True)
    monkeypatch.setattr(disk, "device_size", lambda device: 256 << 20)
    assert disk.have_ext4(device)
    assert not disk.have_grown(device)
    monkeypatch.setattr(disk, "device_size", lambda device: 512 << 20)
    assert disk.have_grown(device)
