"""/build: what clients send, and how errors reach them."""

from __future__ import annotations

import base64
import json

import pytest

from guest_agent.api.build import parse_build
from guest_agent.api.buildkit import parse_outputs
from guest_agent.api.credentials import parse_registry_config
from guest_agent.api.query import Query
from guest_agent.buildkit.messages import Exporter
from guest_agent.engine.build_requests import BuildStepFailed, NotCached
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import Credentials
from guest_agent.wire.resources import Ulimit
from tests.unit.api.conftest import Api
from tests.unit.buildkit.pretended import IMAGE


def test_every_parameter_of_the_classic_builder() -> None:
    request = parse_build(
        Query(
            "t=a&t=b:1&dockerfile=x%2FDockerfile&target=dev&buildargs=%7B%22A%22%3A%221%22%2C%22B%22%3Anull%7D"
            "&labels=%7B%22l%22%3A%22v%22%7D&nocache=1&pull=1&cachefrom=%5B%22c%22%5D&platform=linux%2Farm64&squash=1"
            "&networkmode=host&extrahosts=h%3A1.2.3.4&memory=100&memswap=-1&cpushares=2&cpuperiod=3&cpuquota=4"
            "&cpusetcpus=0&cpusetmems=0&shmsize=5&cgroupparent=%2Fp&ulimits=%5B%7B%22Name%22%3A%22nofile%22"
            "%2C%22Soft%22%3A1%2C%22Hard%22%3A2%7D%5D&q=1&rm=1&forcerm=1&remote=http%3A%2F%2Fx&version=1&securityopt=a&securityopt=b%3D1"
        )
    )
    assert (request.tags, request.dockerfile, request.target) == (("a", "b:1"), "x/Dockerfile", "dev")
    assert request.arguments == {"A": "1", "B": None} and request.labels == {"l": "v"}
    assert request.no_cache and request.pull and request.squash and request.quiet
    assert (request.cache_from, request.platform, request.remote) == (("c",), "linux/arm64", "http://x")
    assert (request.network_mode, request.extra_hosts, request.shm_size) == ("host", ("h:1.2.3.4",), 5)
    assert (request.cgroup_parent, request.security_opt) == ("/p", ("a", "b=1"))
    resources = request.resources
    assert (resources.memory, resources.memory_swap, resources.cpu_shares) == (100, -1, 2)
    assert resources.ulimits == (Ulimit("nofile", 1, 2),)


@pytest.mark.parametrize("query", ["buildargs=x", "buildargs=%5B1%5D", "labels=%5B%5D", "ulimits=1", "cachefrom=1"])
def test_what_cant_be_read(query: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_build(Query(query))


def test_outputs() -> None:
    query = Query("outputs=%5B%7B%22Type%22%3A%22tar%22%2C%22Attrs%22%3A%7B%22a%22%3A%22b%22%7D%7D%5D")
    assert parse_outputs(query) == (Exporter("tar", {"a": "b"}),) and parse_outputs(Query("")) == ()
    with pytest.raises(InvalidArgument):
        parse_outputs(Query("outputs=%5B1%5D"))


def test_buildkit_builds_what_comes_in_the_body(api: Api) -> None:
    """Its `/build`, as clients without a session use it: the builder's error stands behind what it told."""
    assert api.message("POST", "/build?version=3") == (400, "invalid version 3")
    api.engine.builds.error = BuildStepFailed("x", 7)
    lines = [json.loads(line) for line in api.ask("POST", "/build?version=2", b"tar").read().splitlines()]
    assert lines[-1]["error"] == 'process "x" did not complete successfully: exit code: 7'
    assert api.engine.builds.bodies == [b"tar"]


def test_cancel(api: Api) -> None:
    assert api.message("POST", "/build/cancel") == (500, "build ID not provided")
    assert api.call("POST", "/build/cancel?id=x") == (200, None)
    api.ask("POST", "/build?version=2&buildid=x", b"tar").read()
    assert api.call("POST", "/build/cancel?id=x") == (200, None)


def test_credentials() -> None:
    header = base64.urlsafe_b64encode(json.dumps({"r:5000": {"username": "u", "password": "p"}}).encode()).decode()
    assert parse_registry_config(header) == {"r:5000": Credentials("u", "p")}
    with pytest.raises(InvalidArgument):
        parse_registry_config("%%%")


def test_an_early_error_is_an_answer_a_later_one_a_line(api: Api) -> None:
    api.engine.builds.error = InvalidArgument("dockerfile parse error on line 2: unknown instruction: FOO")
    assert api.message("POST", "/build", b"tar") == (400, "dockerfile parse error on line 2: unknown instruction: FOO")
    api.engine.builds.error = BuildStepFailed("x", 7, "a hint")
    lines = api.ask("POST", "/build?t=x", b"tar").read().splitlines()
    last = json.loads(lines[-1])
    assert json.loads(lines[0])["stream"] == "Step 1/1 : FROM scratch\n"
    assert last["error"] == last["errorDetail"]["message"] == "The command 'x' returned a non-zero code: 7"
    assert (last["errorDetail"]["code"], last["errorDetail"]["hint"]) == (7, "a hint")
    assert api.engine.builds.bodies == [b"tar", b"tar"]


def test_prune(api: Api) -> None:
    assert api.call("POST", "/build/prune") == (200, {"CachesDeleted": ["b" * 32], "SpaceReclaimed": 7})


def test_a_build_from_the_cache_is_answered_whole(api: Api) -> None:
    lines = api.ask("POST", "/hostvm/build?hostvm-context=k&t=a", b"tar").read().splitlines()
    assert json.loads(lines[-1]) == {"aux": {"ID": "sha256:1"}}
    assert (api.engine.builds.requests[-1].context_key, api.engine.builds.bodies) == ("k", [b"tar"])
    api.engine.builds.error = NotCached()
    assert api.message("POST", "/hostvm/build", b"tar") == (409, "the build isn't in the cache")


def test_a_build_for_files_sends_them_behind_its_lines(api: Api) -> None:
    """Without a tag no image is made; the result, and with it its layers, is let go in any case."""
    path, files = "/hostvm/build/files", [b'{"files":"tar"}', b"a tar of " + IMAGE.encode()]
    step = b'{"stream":"Step 1/1 : FROM scratch\\n"}'
    assert api.ask("POST", path, b"tar").read().split(b"\n") == [step, *files]
    assert api.ask("POST", f"{path}?hostvm-cached=1&t=a", b"tar").read().split(b"\n")[-2:] == files
    assert [one.for_files for one in api.engine.builds.requests] == [True, False]
    api.engine.builds.error = BuildStepFailed("x", 7)
    last = api.ask("POST", path, b"tar").read().splitlines()[-1]
    assert json.loads(last)["error"].endswith("non-zero code: 7")
    api.engine.builds.error = NotCached()
    assert api.message("POST", f"{path}?hostvm-cached=1", b"tar") == (409, "the build isn't in the cache")
    assert [result.closed for result in api.engine.builds.results] == [True] * 4


def test_a_line_to_an_ssh_agent(api: Api) -> None:
    head, line = api.hijack("/hostvm/agent?token=t", upgrade="hostvm-agent")
    assert b"Upgrade: hostvm-agent" in head
    line.sendall(b"keys")
    assert b"".join(iter(lambda: line.recv(100), b"")) == b"t asks, and hears keys"
    refusal = (400, "this exchange needs the header Upgrade: hostvm-agent")
    assert api.message("POST", "/hostvm/agent?token=t", b"") == refusal
