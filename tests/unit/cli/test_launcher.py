"""The launcher finds its interpreter and the packages, however it is called."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """An environment with a space in its name, with an editable install."""
    environment = tmp_path / "an environment"
    packages = environment / "lib" / VERSION / "site-packages"
    packages.mkdir(parents=True)
    (packages / "_editable_impl_hostvm.pth").write_text(str(ROOT))
    (environment / "bin").mkdir()
    (environment / "bin" / "python3").symlink_to(sys.executable)
    launcher = environment / "bin" / "hostvm"
    shutil.copy(ROOT / "scripts" / "launcher", launcher)
    launcher.chmod(0o755)
    return launcher


def version(*command: object) -> str:
    done = subprocess.run(list(map(str, [*command, "--version"])), capture_output=True, text=True, check=True)
    return done.stdout


def test_by_its_path(installed: Path) -> None:
    assert version(installed).startswith("hostvm version ")


def test_by_a_symlink_beside_another_python(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to("/bin/false")
    link = tmp_path / "bin" / "hostvm"
    link.symlink_to(installed)
    assert version(link).startswith("hostvm version ")


def test_by_its_name_in_the_current_folder(installed: Path) -> None:
    done = subprocess.run(
        ["hostvm", "--version"], cwd=installed.parent, env={**os.environ, "PATH": ""}, executable="./hostvm",
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("hostvm version ")


def test_with_the_packages_in_place(installed: Path) -> None:
    packages = installed.parents[1] / "lib" / VERSION / "site-packages"
    (packages / "_editable_impl_hostvm.pth").unlink()
    for name in ("hostvm", "guest_agent"):
        (packages / name).symlink_to(ROOT / name)
    assert version(installed).startswith("hostvm version ")


def test_words_arrive_as_they_are(installed: Path) -> None:
    done = subprocess.run([installed, "no such verb", "*"], capture_output=True, text=True)
    assert done.stderr.startswith("hostvm: unknown command: hostvm no such verb\n")


def test_shell_half_is_sound() -> None:
    shellcheck = shutil.which("shellcheck")
    if not shellcheck:
        pytest.skip("shellcheck isn't installed")
    text = (ROOT / "scripts" / "launcher").read_text()
    shell = text.replace("''':'\n", "").split("'''\n", 1)[0]
    subprocess.run([shellcheck, "-"], input=shell, text=True, check=True)
