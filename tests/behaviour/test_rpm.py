"""A root file system of the RPM family by the recipe of docs/rpm.md, of packages that are made here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.behaviour.harness.images import ROOT
from tests.behaviour.harness.machine import HOSTVM, Failed, Machine

#: Without a path it would be an applet of busybox for busybox's shell.
RPM = "/usr/bin/rpm"
PACKAGES = ["busybox-9-1", "centos-release-9-1", "rpm-9-1"]
_DOCKERFILE = f"""
FROM centos
RUN --mount=type=bind,target=/mnt {RPM} --install /mnt/*/hello-9-1.*.rpm
"""


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages, with the lists that dnf reads."""
    folder = tmp_path_factory.mktemp("rpm")
    folders = [f"--define=_topdir {folder}/work", f"--define=_rpmdir {folder}/repository"]
    home = {"HOME": str(folder)}  # where Debian's rpm makes a database
    run(home, "rpmbuild", "-bb", "--quiet", *folders, f"{ROOT}/tests/data/rpm/system.spec")
    run(home, "createrepo_c", "--quiet", f"{folder}/repository")
    return folder / "repository"


def run(environment: dict[str, str], *argv: str) -> None:
    whole = {**os.environ, **environment}
    done = subprocess.run(argv, env=whole, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def read_recipe() -> str:
    """The first block of the page, which its readers paste into a shell."""
    text = Path(f"{ROOT}/docs/rpm.md").read_text()
    return text.partition("```sh\n")[2].partition("```\n")[0]


def test_the_recipe_makes_an_image_in_which_rpm_works(machine: Machine, repository: Path, tmp_path: Path) -> None:
    wanted = {
        "REPO": f"file://{repository}",
        "PACKAGES": "rpm busybox",
        "NAME": "centos",
        "DNF_OPTIONS": "--nogpgcheck",
    }
    path = f"{os.path.dirname(HOSTVM)}:{os.environ['PATH']}"
    argv = ["sh", "-euc", read_recipe()]
    result = machine.command(argv, {**wanted, "DNF_OPTIONS": "--nogpgcheck", "PATH": path, "TMPDIR": str(tmp_path)})
    if result.code:
        raise Failed(argv, result)
    assert 'ID="centos"' in machine("run", "--rm", "centos", "cat", "/etc/os-release")
    assert sorted(machine("run", "--rm", "centos", RPM, "-qa", "--qf", "%{NVR}\n").split()) == PACKAGES
    assert machine("run", "--rm", "centos", RPM, "-qf", "--qf", "%{NAME}", "/etc/os-release") == "centos-release"
    machine("run", "--rm", "centos", RPM, "--verify", "centos-release", "busybox", "rpm")
    assert not list(tmp_path.iterdir())

    (repository / "Dockerfile").write_text(_DOCKERFILE)
    machine("build", "--quiet", "--network", "none", "--tag", "greeting", str(repository))
    assert machine("run", "--rm", "greeting", "sh", "-c", "hello; cat /etc/hello").split() == ["hello", "installed"]
    machine("rmi", "greeting", "centos")
