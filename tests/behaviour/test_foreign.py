"""Images for another architecture: run and built by emulation. In a VM that needs nothing; natively an emulator."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.behaviour.harness import images
from tests.behaviour.harness.images import FOREIGN_MACHINE, FOREIGN_PLATFORM
from tests.behaviour.harness.machine import Machine

#: In a mount namespace of its own: what is registered goes with it (kernel 6.7), and nobody else sees the mount.
_REGISTER = """
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
name=hostvm-test-$$
sed -n "s/^:[^:]*:/:$name:/p" /usr/lib/binfmt.d/qemu-$1.conf >/proc/sys/fs/binfmt_misc/register
echo ready
read line
echo -1 >/proc/sys/fs/binfmt_misc/$name
"""

_DOCKERFILE = """
FROM foreign
ARG TARGETPLATFORM
RUN uname -m >/machine && echo $TARGETPLATFORM >>/machine
CMD ["cat", "/machine"]
"""


@pytest.fixture
def emulated(machine: Machine) -> Iterator[Machine]:
    """A machine with an image of another architecture, and an emulator for it."""
    machine("load", "--quiet", "--input", images.archive("foreign"))
    with registered() if machine.kind == "native" else nothing_to_do():
        yield machine
    machine("rmi", "--force", "foreign")


@contextmanager
def registered() -> Iterator[None]:
    argv = ["unshare", "--mount", "sh", "-euc", _REGISTER, "sh", FOREIGN_MACHINE]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin and holder.stdout
        assert holder.stdout.readline() == "ready\n"
        yield
        holder.stdin.write("\n")
    assert holder.returncode == 0


@contextmanager
def nothing_to_do() -> Iterator[None]:
    yield


def test_a_foreign_image_runs(emulated: Machine) -> None:
    """docker's warning stands on standard error, and only where no platform was asked for."""
    result = emulated.attempt("run", "--rm", "foreign", "uname", "-m")
    assert result.out == f"{FOREIGN_MACHINE}\n"
    assert f"The requested image's platform ({FOREIGN_PLATFORM}" in result.err
    asked = emulated.docker("run", "--rm", "--platform", FOREIGN_PLATFORM, "foreign", "sh", "-c", "exec uname -m")
    assert asked.strip() == FOREIGN_MACHINE


def test_a_foreign_image_is_built(emulated: Machine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(_DOCKERFILE)
    emulated.docker("build", "-q", "--platform", FOREIGN_PLATFORM, "-t", "built", str(tmp_path))
    (image,) = json.loads(emulated.docker("image", "inspect", "built"))
    assert f"{image['Os']}/{image['Architecture']}" == FOREIGN_PLATFORM
    assert emulated("run", "--rm", "built").split() == [FOREIGN_MACHINE, FOREIGN_PLATFORM]
    emulated("rmi", "built")
