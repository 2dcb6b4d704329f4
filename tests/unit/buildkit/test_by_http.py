"""Builds that are asked for by HTTP, of a client with and without a session."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from guest_agent.buildkit import by_http
from guest_agent.buildkit.by_http import HttpBuild, HttpBuilds, Report
from guest_agent.buildkit.messages import Exporter, StatusResponse, Vertex
from guest_agent.engine.build_requests import BuildRequest, BuildStepFailed
from guest_agent.rpc.protobuf import decode
from guest_agent.wire.errors import HostvmError, Unavailable
from tests.unit.buildkit.pretended import IMAGE, Conversation, PretendedClient
from tests.unit.buildkit.test_services import a_client, converse

FROM_SESSION = BuildRequest(remote="client-session")
RESULT: Report = {"id": "moby.image.id", "aux": {"ID": IMAGE}}


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def collect(builds: HttpBuilds, wanted: HttpBuild, *body: bytes) -> list[Report]:
    """What came before an error is lost with it."""
    async with aclosing(builds.build(wanted, chunks(*body))) as reports:
        return [report async for report in reports]


def vertices(reports: list[Report]) -> list[Vertex]:
    told = [report["aux"] for report in reports if report.get("id") == "moby.buildkit.trace"]
    return [vertex for text in told for vertex in decode(StatusResponse, base64.b64decode(str(text))).vertexes]


def test_the_whole_of_a_job_comes_in_one_answer() -> None:
    async def work(talk: Conversation) -> None:
        builds = HttpBuilds(talk.service)
        reports = await collect(builds, HttpBuild(FROM_SESSION, "s1", "b1"))
        assert reports[-1] == RESULT
        done = [vertex.name for vertex in vertices(reports) if vertex.completed]
        assert done[0] == "[internal] load build definition from Dockerfile" and done[-1] == "exporting to image"
        quiet = BuildRequest(remote="client-session", quiet=True)
        assert await collect(builds, HttpBuild(quiet, "s1", "b2")) == [{"stream": f"{IMAGE}\n"}]
        of_files = await collect(builds, HttpBuild(FROM_SESSION, "s1", "b3", (Exporter("tar"),)))
        assert RESULT not in of_files and [one.for_files for one in talk.builds.requests] == [False, False, True]

    converse(a_client(), work)


def test_a_failure_is_the_last_word_also_of_a_quiet_build() -> None:
    async def work(talk: Conversation) -> None:
        talk.builds.error = BuildStepFailed("/bin/sh -c false", 1)
        for quiet in (False, True):
            wanted = HttpBuild(BuildRequest(remote="client-session", quiet=quiet), "s1", "b1")
            told: list[Report] = []
            with pytest.raises(HostvmError, match="did not complete successfully"):
                async for report in HttpBuilds(talk.service).build(wanted, chunks()):
                    told.append(report)
            assert vertices(told)[0].name == "[internal] load build definition from Dockerfile"

    converse(a_client(), work)


def test_a_context_in_the_body_needs_no_session() -> None:
    async def work(talk: Conversation) -> None:
        talk.builds.registries = ("docker.io",)
        assert (await collect(HttpBuilds(talk.service), HttpBuild(BuildRequest(), "", ""), b"a ", b"tar"))[-1] == RESULT
        assert talk.builds.bodies == [b"a tar"] and talk.builds.credentials == [None]
        with pytest.raises(HostvmError, match="no active sessions"):
            await collect(HttpBuilds(talk.service), HttpBuild(FROM_SESSION, "", ""))

    converse(PretendedClient({}), work)


@pytest.mark.parametrize("first", ["build", "upload"])
def test_a_context_that_another_request_brings(first: str) -> None:
    """In either order; that request is answered with nothing when the build is done with it."""

    async def work(talk: Conversation) -> None:
        builds = HttpBuilds(talk.service)
        build = collect(builds, HttpBuild(BuildRequest(remote="upload-request"), "s1", "b1"))
        upload = collect(builds, HttpBuild(BuildRequest(), "", "upload-request:b1"), b"a tar")
        pair = (build, upload) if first == "build" else (upload, build)
        results = await asyncio.gather(*pair)
        assert sorted(map(len, results))[0] == 0 and max(results, key=len)[-1] == RESULT
        assert talk.builds.bodies == [b"a tar"]

    converse(a_client(), work)


def test_a_build_and_its_context_do_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_http, "_PATIENCE", 0.05)

    async def work(talk: Conversation) -> None:
        builds = HttpBuilds(talk.service)
        for wanted in (
            HttpBuild(BuildRequest(remote="upload-request"), "s1", "b1"),
            HttpBuild(BuildRequest(), "", "upload-request:b1"),
        ):
            with pytest.raises(Unavailable, match="context deadline exceeded"):
                await collect(builds, wanted, b"a tar")

    converse(a_client(), work)


def test_a_build_is_cancelled_by_its_id() -> None:
    async def work(talk: Conversation) -> None:
        builds = HttpBuilds(talk.service)
        builds.cancel("b1")
        talk.builds.stuck = True
        building = asyncio.create_task(collect(builds, HttpBuild(FROM_SESSION, "s1", "b1")))
        await talk.builds.begun.wait()
        builds.cancel("other")
        builds.cancel("b1")
        with pytest.raises(HostvmError, match="context canceled"):
            await building
        assert talk.builds.cancelled.is_set()

    converse(a_client(), work)


def test_a_client_that_goes_ends_its_build() -> None:
    async def work(talk: Conversation) -> None:
        talk.builds.stuck = True
        building = asyncio.create_task(collect(HttpBuilds(talk.service), HttpBuild(FROM_SESSION, "s1", "b1")))
        await talk.builds.begun.wait()
        building.cancel()
        await asyncio.wait([building])
        assert talk.builds.cancelled.is_set()

    converse(a_client(), work)
