"""docker-py, aiodocker and testcontainers-python, each through what its users do all day."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Iterator
from typing import Any

import aiodocker
import docker
import pytest
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound
from docker.types import LogConfig, Ulimit

from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.waiting import patience

SLEEP = ["sleep", "3600"]


@pytest.fixture
def client(machine: Machine) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=f"unix://{machine.docker_socket}", timeout=patience())
    yield client
    client.close()


def test_docker_py_runs(client: docker.DockerClient) -> None:
    assert client.ping() and client.api._version == "1.44"
    assert client.containers.run("busybox", "echo hello", remove=True) == b"hello\n"
    with pytest.raises(ContainerError) as failed:
        client.containers.run("busybox", ["sh", "-c", "echo no >&2; exit 3"], remove=True)
    assert (failed.value.exit_status, failed.value.stderr) == (3, b"no\n")
    with pytest.raises(NotFound, match="No such container: nosuch"):
        client.containers.get("nosuch")
    with pytest.raises(ImageNotFound, match="No such image: nosuch"):
        client.images.get("nosuch")
    with pytest.raises(APIError, match='exec: "nonsense": executable file not found'):
        client.containers.run("busybox", "nonsense", remove=True)


def test_docker_py_life_cycle(client: docker.DockerClient) -> None:
    volume = client.volumes.create("data", labels={"tier": "db"})
    container = client.containers.run(
        "busybox",
        ["sh", "-c", 'trap "exit 7" TERM; echo begun; while :; do sleep 0.1; done'],
        detach=True,
        name="job",
        environment={"A": "b"},
        labels={"tier": "db"},
        volumes={"data": {"bind": "/data", "mode": "rw"}},
        ports={"80/tcp": None},
        mem_limit="64m",
        ulimits=[Ulimit(name="nofile", soft=100, hard=200)],
        log_config=LogConfig(type="json-file"),
    )
    container.reload()
    assert container.status == "running" and container.ports["80/tcp"][0]["HostPort"]
    assert [one.name for one in client.containers.list(filters={"label": "tier=db"})] == ["job"]
    assert next(container.logs(stream=True, follow=True)) == b"begun\n"
    assert container.top()["Titles"][0] in ("UID", "PID")
    told = container.exec_run(
        ["sh", "-c", "echo $A $C; echo to stderr >&2; ulimit -n; exit 4"], environment={"C": "d"}, demux=True
    )
    assert told == (4, (b"b d\n100\n", b"to stderr\n"))
    assert b"".join(container.exec_run("seq 1 1000", stream=True).output).split()[-1] == b"1000"
    # Its output ends before it does: the stream must not, as the exit code is asked for at the stream's end.
    assert container.exec_run(["sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 5"]) == (5, b"")
    container.pause()
    container.reload()
    assert container.status == "paused"
    container.unpause()
    container.rename("work")
    container.stop(timeout=5)
    assert container.wait() == {"StatusCode": 7}
    container.remove()
    assert [one.name for one in client.volumes.list(filters={"label": "tier"})] == ["data"]
    volume.remove()


def test_docker_py_attaches(client: docker.DockerClient) -> None:
    container = client.containers.create("busybox", "cat", stdin_open=True)
    stream = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    stream._sock.sendall(b"through and back\n")
    stream._sock.shutdown(1)
    assert stream.read() == b"\x01\0\0\0\0\0\0\x11through and back\n"
    assert container.wait()["StatusCode"] == 0
    assert client.api.inspect_container(container.id)["State"]["Status"] == "exited"
    assert client.containers.prune()["ContainersDeleted"] == [container.id]


def test_docker_py_hears_events(client: docker.DockerClient) -> None:
    stream = client.events(decode=True, filters={"container": "heard-of"})
    client.containers.run("busybox", "true", name="heard-of", remove=True)
    heard = []
    for event in stream:
        heard.append(event["Action"])
        if event["Action"] == "destroy":
            break
    stream.close()
    assert [action for action in heard if action != "attach"] == ["create", "start", "die", "destroy"]


def test_docker_py_images(client: docker.DockerClient) -> None:
    image = client.images.get("busybox")
    assert image.tag("mine", "1") and "mine:1" in client.images.get("mine:1").tags
    container = client.containers.run("busybox", ["touch", "/made"], detach=True)
    container.wait()
    made = container.commit("made", "1", changes=["ENV A=b"], message="by hand")
    assert "A=b" in made.attrs["Config"]["Env"] and made.history()[0]["Comment"] == "by hand"
    assert client.containers.run("made:1", ["ls", "/made"], remove=True) == b"/made\n"
    container.remove()
    for name in ("mine:1", "made:1"):
        client.images.remove(name)


def test_aiodocker(machine: Machine) -> None:
    asyncio.run(use_aiodocker(f"unix://{machine.docker_socket}"))


async def use_aiodocker(url: str) -> None:
    async with aiodocker.Docker(url=url) as client, asyncio.timeout(patience(60)):
        assert (await client.version())["ApiVersion"] == "1.44"
        config: dict[str, Any] = {
            "Image": "busybox",
            "Cmd": ["sh", "-c", "echo begun; read line; echo got $line; sleep 3600"],
            "OpenStdin": True,
        }
        container = await client.containers.create_or_replace("job", config)
        async with container.attach(stdin=True, stdout=True, stderr=True) as stream:
            await container.start()
            message = await stream.read_out()
            assert message is not None and (message.stream, message.data) == (1, b"begun\n")
            await stream.write_in(b"word\n")
            message = await stream.read_out()
            assert message is not None and message.data == b"got word\n"
        executed = await container.exec(["sh", "-c", "echo out; echo err >&2; exit 5"])
        async with executed.start(detach=False) as stream:
            pieces = {}
            while message := await stream.read_out():
                pieces[message.stream] = message.data
        assert pieces == {1: b"out\n", 2: b"err\n"} and (await executed.inspect())["ExitCode"] == 5
        assert await container.log(stdout=True) == ["begun\n", "got word\n"]
        assert [one.id for one in await client.containers.list(filters={"name": ["job"]})] == [container.id]
        replaced = await client.containers.create_or_replace("job", {**config, "Cmd": ["true"]})
        await replaced.start()
        assert await replaced.wait() == {"StatusCode": 0}
        await replaced.delete()
        with pytest.raises(aiodocker.DockerError, match="No such container"):
            await replaced.show()


def test_testcontainers(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ryuk, which removes what a dead test run has left, is an image of its own: not here."""
    for name, value in machine.environment.items():
        if name.startswith("DOCKER_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("TESTCONTAINERS_HOST_OVERRIDE", "localhost")
    from testcontainers.core.config import ConnectionMode, testcontainers_config
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)
    # Where the tests themselves run in a container, it would take the engine for a sibling and ask at its gateway.
    monkeypatch.setattr(testcontainers_config, "connection_mode_override", ConnectionMode.docker_host)
    # Without -f, busybox's httpd goes to the background once it listens.
    server = "mkdir /www; echo served >/www/index.html; httpd -h /www -p 80; echo ready; exec sleep 3600"
    container = DockerContainer("busybox").with_command(["sh", "-c", server]).with_exposed_ports(80)
    with container.waiting_for(LogMessageWaitStrategy("ready")) as started:
        url = f"http://{started.get_container_host_ip()}:{started.get_exposed_port(80)}/"
        with urllib.request.urlopen(url, timeout=patience()) as answer:
            assert answer.read() == b"served\n"
        assert started.exec("cat /www/index.html") == (0, b"served\n")
        assert b"ready" in started.get_logs()[0]
