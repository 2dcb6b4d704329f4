"""The classic builder's parameters -> what buildx asks for, and back to our own request."""

from __future__ import annotations

import dataclasses

import pytest

from guest_agent.buildkit.attributes import Wanted, plan_build_request
from guest_agent.buildkit.messages import Exporter
from guest_agent.buildkit.solve_requests import plan_solve
from guest_agent.engine.build_requests import BuildRequest
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.resources import Resources, Ulimit


def there_and_back(request: BuildRequest, *outputs: Exporter) -> Wanted:
    solve = plan_solve(request, "s1", outputs)
    assert solve.session == "s1" and solve.ref
    return plan_build_request(solve.frontend_attrs, solve.exporters)


def test_nothing_is_lost_that_buildkit_knows() -> None:
    request = BuildRequest(
        tags=("docker.io/library/one:1", "host.test/two:latest"),
        dockerfile="sub.Dockerfile",
        target="made",
        arguments={"A": "1=2"},
        labels={"tier": "db"},
        no_cache=True,
        pull=True,
        cache_from=("cached:1",),
        platform="linux/arm64",
        network_mode="host",
        extra_hosts=("one:10.0.0.1", "two:::1", "me:host-gateway"),
        resources=Resources(ulimits=(Ulimit("nofile", 10, 20),)),
        cgroup_parent="/group",
        shm_size=1 << 20,
    )
    asked = dataclasses.replace(request, remote="client-session", network_mode="host")
    expected = dataclasses.replace(request, in_parts=True, own_cache_too=True, by_buildkit=True, workdir_for_user=True)
    assert there_and_back(asked).request == expected


def test_where_the_context_is() -> None:
    assert there_and_back(BuildRequest(remote="client-session")).request.in_parts
    assert there_and_back(BuildRequest(remote="http://host.test/x.git")).request.remote == "http://host.test/x.git"
    assert plan_solve(BuildRequest(network_mode="host"), "", ()).entitlements == ("network.host",)
    for remote in ("", "upload-request"):
        wanted = there_and_back(BuildRequest(remote=remote))
        assert wanted.uploaded and not wanted.request.remote and not wanted.request.in_parts


def test_names_are_those_of_an_image() -> None:
    """A variable that is taken back, and the default network, are said by leaving them away."""
    request = BuildRequest(tags=("one", "one:latest", "two:1"), arguments={"A": None}, network_mode="default")
    names = "docker.io/library/one:latest,docker.io/library/two:1"
    assert plan_solve(request, "", ()).exporters == (Exporter("moby", {"name": names}),)
    given = Exporter("image", {"push": "true", "name": "other"})
    assert plan_solve(request, "", (given,)).exporters == (Exporter("image", {"push": "true", "name": names}),)
    assert plan_solve(request, "", (Exporter("tar"),)).exporters == (Exporter("tar"),)
    assert plan_solve(request, "", (Exporter("cacheonly"),)).exporters == ()
    planned = there_and_back(request).request
    assert not planned.arguments and not planned.network_mode


@pytest.mark.parametrize(
    ("request_", "outputs", "words"),
    [
        (BuildRequest(), (Exporter("tar"), Exporter("tar")), "multiple outputs not supported"),
        (BuildRequest(network_mode="own"), (), 'network mode "own" not supported by buildkit'),
        (BuildRequest(extra_hosts=("one",)), (), "invalid host one"),
        (BuildRequest(tags=("A",)), (), "must be lowercase"),
    ],
)
def test_what_dockerd_refuses(request_: BuildRequest, outputs: tuple[Exporter, ...], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        plan_solve(request_, "", outputs)
