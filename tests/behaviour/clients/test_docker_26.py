"""docker's command line 26, of Debian trixie, which speaks API 1.44: each answer is checked against its description."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests.behaviour.clients import programs
from tests.behaviour.harness.machine import Failed, Machine

Docker = Callable[..., str]


@pytest.fixture
def docker(machine: Machine) -> Docker:
    def docker(*words: str) -> str:
        result = machine.command([programs.DOCKER_26, *words])
        if result.code:
            raise Failed(["docker", *words], result)
        return result.out.removesuffix("\n")

    return docker


def test_containers(docker: Docker) -> None:
    assert docker("version", "--format", "{{.Client.APIVersion}} {{.Server.APIVersion}}") == "1.44 1.44"
    assert docker("info", "--format", "{{.OSType}} {{.ContainersRunning}}") == "linux 0"
    options = ["-d", "--name", "web", "-p", "127.0.0.1::80", "-v", "data:/data", "-e", "A=b", "-m", "64m", "--init"]
    identity = docker("run", *options, "--label", "tier=db", "busybox", "sh", "-c", "echo begun; exec sleep 3600")
    assert docker("ps", "--filter", "label=tier=db", "--format", "{{.ID}} {{.State}}") == f"{identity[:12]} running"
    assert re.fullmatch(r"127.0.0.1:\d+", docker("port", "web", "80"))
    assert docker("exec", "-w", "/data", "web", "sh", "-c", "pwd; echo $A") == "/data\nb"
    assert docker("logs", "web") == "begun"
    assert "sleep 3600" in docker("top", "web")
    (seen,) = json.loads(docker("inspect", "--size", "web"))
    assert (seen["Mounts"][0]["Name"], seen["HostConfig"]["Memory"]) == ("data", 64 << 20)
    docker("pause", "web")
    docker("unpause", "web")
    docker("rename", "web", "shop")
    docker("restart", "-t", "0", "shop")
    docker("kill", "shop")
    assert docker("wait", "shop") == "137"
    assert docker("container", "prune", "--force").splitlines()[1] == identity


def test_files_and_images(docker: Docker, machine: Machine) -> None:
    docker("run", "--name", "made", "busybox", "sh", "-c", "mkdir /d; echo text > /d/file")
    assert docker("diff", "made").split("\n") == ["A /d", "A /d/file"]
    docker("cp", "made:/d", f"{machine.folder}/copied")
    docker("cp", f"{machine.folder}/copied/file", "made:/d/again")
    docker("commit", "--change", "ENV A=b", "--message", "by hand", "made", "mine:1")
    assert docker("run", "--rm", "mine:1", "sh", "-c", "cat /d/file /d/again; echo $A") == "text\ntext\nb"
    assert docker("history", "--format", "{{.Comment}}", "mine:1").splitlines()[0] == "by hand"
    docker("tag", "mine:1", "mine:2")
    assert sorted(docker("images", "--format", "{{.Tag}}", "mine").split()) == ["1", "2"]
    docker("rmi", "mine:1", "mine:2")


def test_networks_and_volumes(docker: Docker) -> None:
    docker("network", "create", "--subnet", "10.222.0.0/24", "--label", "tier=db", "inner")
    docker("run", "-d", "--name", "server", "--network", "inner", "--network-alias", "db", "busybox", "sleep", "3600")
    assert "10.222.0." in docker("run", "--rm", "--network", "inner", "busybox", "ping", "-c", "1", "db")
    docker("network", "connect", "bridge", "server")
    (seen,) = json.loads(docker("inspect", "server"))
    assert sorted(seen["NetworkSettings"]["Networks"]) == ["bridge", "inner"]
    docker("network", "disconnect", "inner", "server")
    docker("rm", "-f", "server")
    assert docker("network", "ls", "-q", "--no-trunc", "--filter", "label=tier=db") != ""
    docker("network", "rm", "inner")
    docker("volume", "create", "--label", "tier=db", "data")
    (volume,) = json.loads(docker("volume", "inspect", "data"))
    assert volume["Labels"] == {"tier": "db"}
    assert "data" in docker("system", "df", "-v")
    docker("volume", "rm", "data")
