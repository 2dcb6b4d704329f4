"""dockerode and testcontainers of npm; the devcontainers command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

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


def test_a_dev_container(machine: Machine, tmp_path: Path) -> None:
    """A local image, the workspace mounted, variables, a command after its creation; then a command in it."""
    project = tmp_path / "project"
    (project / ".devcontainer").mkdir(parents=True)
    (project / "source.txt").write_text("of the workspace\n")
    description = {"image": "debian:bookworm", "containerEnv": {"A": "b"}, "postCreateCommand": "echo made >/made"}
    (project / ".devcontainer/devcontainer.json").write_text(json.dumps(description))

    def devcontainer(verb: str, *words: str) -> str:
        command = f"{programs.node_modules()}/@devcontainers/cli/devcontainer.js"
        where = ["--docker-path", programs.DOCKER_26, "--workspace-folder", str(project)]
        argv = ["node", command, verb, *where, *words]
        result = machine.command(argv)
        if result.code:
            raise Failed(argv, result)
        return result.out

    up = json.loads(devcontainer("up"))
    assert up["outcome"] == "success" and machine.status(up["containerId"]) == "running"
    told = devcontainer("exec", "sh", "-c", "cat /made source.txt; echo $A; pwd")
    assert told.split("\n") == ["made", "of the workspace", "b", "/workspaces/project", ""]
    assert json.loads(devcontainer("up"))["containerId"] == up["containerId"]
