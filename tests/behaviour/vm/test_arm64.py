"""A machine of the other architecture: its image boots, its engine answers, a container runs in it."""

from __future__ import annotations

import io
import tarfile

from tests.behaviour.conftest import MachineMaker
from tests.behaviour.harness.vm import NAME, VmMachine


def one_file(path: str, data: bytes) -> bytes:
    """A root file system with one program."""
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
        return file.getvalue()


def test_a_container_on_arm64(fresh_machine: MachineMaker) -> None:
    """The program in the container is the guest's own busybox: there is no image of arm64 programs otherwise."""
    machine = fresh_machine()
    assert isinstance(machine, VmMachine)
    machine("machine", "rm", "--force", NAME)
    machine("machine", "create", "--arch", "aarch64", "--memory", "1g", NAME)
    assert machine("version", "--format", "{{.Server.Arch}}") == "arm64"
    busybox = machine.inside(["cat", "/usr/bin/busybox"]).stdout
    machine.docker("import", "-", "arm", stdin=one_file("bin/busybox", busybox))
    assert machine("run", "--rm", "arm", "/bin/busybox", "uname", "-m") == "aarch64"
