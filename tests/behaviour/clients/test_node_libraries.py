"""dockerode and testcontainers of npm; the devcontainers command line."""

from __future__ import annotations

import os

import pytest

from tests.behaviour.clients import programs
from tests.behaviour.harness.machine import Failed, Machine

FOLDER = os.path.dirname(os.path.abspath(__file__))


def node(machine: Machine, script: str) -> str:
    """The output of one of the scripts here, which ends with an error where an assertion fails."""
    environment = {
        "NODE_PATH": programs.node_modules(),
        "TESTCONTAINERS_RYUK_DISABLED": "true",
        "TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1",
    }
    argv = ["node", f"{FOLDER}/{script}"]
    result = machine.command(argv, environment)
    if result.code:
        raise Failed(argv, result)
    return result.out


@pytest.mark.parametrize("script", ["dockerode.js", "testcontainers.js"])
def test_a_library(machine: Machine, script: str) -> None:
    assert node(machine, script) == "done\n"
