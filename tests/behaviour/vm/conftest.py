"""Fixtures for what only a VM machine has."""

from __future__ import annotations

import pytest

from tests.behaviour.conftest import MachineMaker
from tests.behaviour.harness import images
from tests.behaviour.harness.vm import VmMachine


@pytest.fixture
def vm(fresh_machine: MachineMaker) -> VmMachine:
    """A VM of one's own, with busybox and its engine running."""
    machine = fresh_machine("busybox")
    assert isinstance(machine, VmMachine)
    return machine


@pytest.fixture
def with_debian(vm: VmMachine) -> None:
    """Debian's image, in which there is perl, too: it takes half a minute to unpack there."""
    vm("load", "--quiet", "--input", images.archive("debian"))
