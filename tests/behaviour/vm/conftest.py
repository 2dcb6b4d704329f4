"""Fixtures for what only a VM machine has."""

from __future__ import annotations

import pytest

from tests.behaviour.conftest import MachineMaker
from tests.behaviour.harness.vm import VmMachine


@pytest.fixture
def vm(fresh_machine: MachineMaker) -> VmMachine:
    """A VM of one's own, with busybox and debian and its engine running."""
    machine = fresh_machine("busybox", "debian")
    assert isinstance(machine, VmMachine)
    return machine
