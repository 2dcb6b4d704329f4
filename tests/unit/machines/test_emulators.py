"""What `doctor` says of programs of other architectures, from entries as the kernel shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostvm.machines.emulators import Emulator, parse_entry, probe_emulators

ARM64 = """enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: POF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""
S390X = ARM64.replace("0201010000000000000000000200b700", "02020100000000000000000000020016")


def test_entries() -> None:
    assert parse_entry(ARM64) == Emulator("arm64", True, True)
    assert parse_entry(S390X) == Emulator("s390x", True, True)
    assert parse_entry(ARM64.replace("enabled", "disabled").replace("POF", "PO")) == Emulator("arm64", False, False)
    assert parse_entry("enabled\ninterpreter /usr/bin/python3\nflags: \noffset 0\nmagic 6f0d0d0a\n") is None
    assert parse_entry("enabled\ninterpreter /usr/bin/wine\nflags: \nextension .exe\n") is None


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({}, "warn programs of other architectures: no emulator is registered"),
        ({"status": "enabled\n"}, "warn programs of other architectures: no emulator is registered"),
        ({"qemu-aarch64": ARM64.replace("POF", "PO")}, "warn programs of other architectures: their emulators are"),
        ({"qemu-aarch64": ARM64, "z": S390X, "register": ""}, "ok   programs of other architectures (arm64, s390x)\n"),
    ],
)
def test_the_finding(entries: dict[str, str], text: str, tmp_path: Path) -> None:
    for name, content in entries.items():
        (tmp_path / name).write_text(content)
    assert probe_emulators(str(tmp_path)).text.startswith(text)


def test_binfmt_misc_that_is_not_mounted_is_no_error(tmp_path: Path) -> None:
    assert "apt-get install qemu-user-static" in probe_emulators(str(tmp_path / "none")).fix
