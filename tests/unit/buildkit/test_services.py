"""Whole jobs, as buildx has them, against a builder that only watches."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Awaitable, Callable

import pytest

from guest_agent.buildkit.messages import (
    BridgeSolveRequest,
    BridgeSolveResponse,
    CredentialsResponse,
    DefinitionEntry,
    Empty,
    Exporter,
    Pong,
    ReturnRequest,
    RpcStatus,
    SolveRequest,
    SolveResponse,
    StatusRequest,
    StatusResponse,
    WorkersResponse,
)
from guest_agent.engine.build_requests import BuildStepFailed
from guest_agent.rpc.protobuf import decode, encode
from guest_agent.rpc.status import CallFailed, Code
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import Credentials
from tests.unit.buildkit.pretended import IMAGE, Conversation, PretendedClient, conversation

_CONTROL, _BRIDGE = "/moby.buildkit.v1.Control", "/moby.buildkit.v1.frontend.LLBBridge"
_JOB = [("buildkit-controlapi-buildid", "job")]
_MOBY = Exporter("moby", {"name": "mine:1"})
DOCKERFILE = b"FROM busybox\nRUN true\n"


def converse(client: PretendedClient, work: Callable[[Conversation], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), conversation(client) as talk:
            await work(talk)

    asyncio.run(run())


def a_client() -> PretendedClient:
    files = {".dockerignore": b"left\n", "Dockerfile": DOCKERFILE, "file": b"content"}
    more = {"x": b"y", ".dockerignore": b"unwanted\n"}
    return PretendedClient({"context": files, "dockerfile": files, "more": more}, {"word": b"hidden"})


async def solve(
    talk: Conversation,
    attributes: dict[str, str],
    exporters: tuple[Exporter, ...] = (_MOBY,),
    inputs: tuple[DefinitionEntry, ...] = (),
) -> tuple[SolveResponse, list[StatusResponse]]:
    """The three calls of buildx at the same time, and the Return at the end."""
    request = SolveRequest("job", session="s1", exporters=exporters)
    control = asyncio.create_task(talk.control.ask(f"{_CONTROL}/Solve", encode(request)))
    watching = asyncio.create_task(watch(talk))
    try:
        asked = encode(BridgeSolveRequest(frontend="dockerfile.v0", frontend_opt=attributes, frontend_inputs=inputs))
        answer = decode(BridgeSolveResponse, await talk.control.ask(f"{_BRIDGE}/Solve", asked, _JOB))
        returned = ReturnRequest(answer.result)
    except CallFailed as error:
        returned = ReturnRequest(error=RpcStatus(error.code, error.message))
    await talk.control.ask(f"{_BRIDGE}/Return", encode(returned), _JOB)
    told = await watching
    return decode(SolveResponse, await control), told


async def watch(talk: Conversation) -> list[StatusResponse]:
    told = []
    async with talk.control.call(f"{_CONTROL}/Status") as call:
        await call.send(encode(StatusRequest("job")))
        call.end_input()
        while (message := await call.receive()) is not None:
            told.append(decode(StatusResponse, message))
    return told


def test_a_build_is_made_of_what_the_client_has() -> None:
    client = a_client()

    async def work(talk: Conversation) -> None:
        response, told = await solve(talk, {"filename": "Dockerfile", "context:more": "local:more"})
        assert response.exporter_response == {
            "containerimage.config.digest": IMAGE,
            "containerimage.digest": IMAGE,
            "image.name": "mine:1",
        }
        (request,) = talk.builds.requests
        assert request.tags == ("mine:1",) and request.in_parts
        with tarfile.open(fileobj=io.BytesIO(talk.builds.bodies[0])) as archive:
            files = {one.name: (archive.extractfile(one) or io.BytesIO()).read() for one in archive if one.isreg()}
        assert files["dockerfile"] == DOCKERFILE
        assert files["context/file"] == b"content" and files["named/more/x"] == b"y"
        names = [vertex.name for response in told for vertex in response.vertexes if vertex.completed]
        assert "[internal] load build definition from Dockerfile" in names and names[-1] == "exporting to image"
        parts = [part.name for response in told for part in response.statuses]
        # a name is shown as it was given: docker.io/library/mine where it has no tag
        assert parts[-3:] == ["exporting layers", f"writing image {IMAGE}", "naming to docker.io/library/mine:1"]

    converse(client, work)
    of_context = [asked for asked in client.asked if asked["dir-name"] == ["context"]]
    assert of_context[-1]["exclude-patterns"] == ["left"]
    assert [asked for asked in client.asked if asked["dir-name"] == ["more"]][-1]["exclude-patterns"] == ["unwanted"]


def test_a_folder_beside_a_context_from_elsewhere() -> None:
    async def work(talk: Conversation) -> None:
        await solve(talk, {"context": "http://there/x.tar", "context:more": "local:more"})
        with tarfile.open(fileobj=io.BytesIO(talk.builds.bodies[0])) as archive:
            names = sorted(one.name for one in archive if one.isreg())
        assert names[0] == "named/more/.dockerignore" and all(name.startswith("named/more/") for name in names)
        assert talk.builds.requests[0].in_parts and talk.builds.requests[0].remote == "http://there/x.tar"

    converse(a_client(), work)


def test_a_build_upon_what_another_one_came_to() -> None:
    """bake's `target:`. It has no image where it is wanted as files: the job itself holds it, as long as it lasts."""

    async def work(talk: Conversation) -> None:
        first = asyncio.create_task(
            talk.control.ask(
                f"{_CONTROL}/Solve", encode(SolveRequest("first", session="s1", exporters=(Exporter("tar"),)))
            )
        )
        asked = encode(BridgeSolveRequest(frontend="dockerfile.v0"))
        of_first = [("buildkit-controlapi-buildid", "first")]
        answer = decode(BridgeSolveResponse, await talk.control.ask(f"{_BRIDGE}/Solve", asked, of_first))
        assert answer.result is not None and answer.result.ref is not None
        await solve(
            talk, {"context:base": "input:base"}, (_MOBY,), (DefinitionEntry("base", answer.result.ref.definition),)
        )
        assert talk.builds.requests[1].named_images == {"base": IMAGE}
        assert list(talk.builds.requests[1].unstored) == [IMAGE] and not talk.builds.results[0].closed
        await talk.control.ask(f"{_BRIDGE}/Return", encode(ReturnRequest()), of_first)
        await first
        assert talk.builds.results[0].closed

    converse(a_client(), work)


def test_a_job_may_be_over_before_its_status_is_asked_for() -> None:
    """As buildx's probes are, in which nothing is built: it broke one build in twenty off after 3 s."""

    async def work(talk: Conversation) -> None:
        control = asyncio.create_task(talk.control.ask(f"{_CONTROL}/Solve", encode(SolveRequest("job", session="s1"))))
        await talk.control.ask(f"{_BRIDGE}/Return", encode(ReturnRequest()), _JOB)
        await control
        async with asyncio.timeout(2):
            assert await watch(talk) == []

    converse(a_client(), work)


def test_a_failed_step_is_said_in_buildkits_words() -> None:
    async def work(talk: Conversation) -> None:
        talk.builds.error = BuildStepFailed("/bin/sh -c false", 1)
        with pytest.raises(CallFailed) as failed:
            await solve(talk, {})
        assert failed.value.code == Code.UNKNOWN
        assert failed.value.message == 'process "/bin/sh -c false" did not complete successfully: exit code: 1'
        talk.builds.error = InvalidArgument("COPY failed: no such file")
        with pytest.raises(CallFailed, match="COPY failed: no such file"):
            await solve(talk, {})
        assert len(talk.builds.bodies) == 2

    converse(a_client(), work)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"filename": "nothing"}, "failed to read dockerfile: open nothing: no such file or directory"),
        ({"requestid": "frontend.outline"}, "unsupported request frontend.outline"),
        ({"local-sessionid:context": "another"}, "no active session for another"),
        ({"contextkey": "nowhere"}, "no access allowed to dir"),
    ],
)
def test_what_can_not_be_built(attributes: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guest_agent.buildkit.sessions._PATIENCE", 0.05)

    async def work(talk: Conversation) -> None:
        with pytest.raises(CallFailed, match=words):
            await solve(talk, attributes)

    converse(PretendedClient({"dockerfile": {"Dockerfile": DOCKERFILE}}), work)


def test_files_instead_of_an_image() -> None:
    """None is made: one that went afterwards was another build's as well."""
    client = a_client()

    async def work(talk: Conversation) -> None:
        response, _ = await solve(talk, {}, (Exporter("tar"),))
        assert response.exporter_response == {}
        assert talk.builds.requests[0].for_files and talk.builds.results[0].closed

    converse(client, work)
    assert client.received == b"a tar of " + IMAGE.encode()


def test_files_that_the_client_cant_take() -> None:
    client = a_client()
    client.takes_results = False

    async def work(talk: Conversation) -> None:
        with pytest.raises(CallFailed, match="no space left on device"):
            await solve(talk, {}, (Exporter("tar"),))
        assert talk.builds.results[0].closed

    converse(client, work)


def test_the_client_is_asked_for_credentials_when_something_is_pulled() -> None:
    """Whatever it is: also an image that the Dockerfile doesn't name by itself."""
    client = a_client()
    client.accounts = {
        "https://index.docker.io/v1/": CredentialsResponse("ann", "word"),
        "token.test": CredentialsResponse("", "token"),
    }

    async def work(talk: Conversation) -> None:
        talk.builds.registries = ("docker.io", "token.test", "unknown.test")
        await solve(talk, {})
        assert talk.builds.credentials == [
            Credentials(username="ann", password="word"),
            Credentials(identity_token="token"),
            None,
        ]

    converse(client, work)


def test_the_clients_secrets_and_agents_answer_the_build() -> None:
    """When a step needs them: those of a variable's name, or of a Dockerfile that came with a tar, were not there."""

    async def work(talk: Conversation) -> None:
        talk.builds.needs_secrets, talk.builds.needs_agents = ("word", "none"), ("default", "other")
        await solve(talk, {})
        assert talk.builds.secrets == [b"hidden", None] and talk.builds.answers == [b"QUESTION", b""]

    converse(a_client(), work)


def test_a_client_that_cancels_ends_its_build() -> None:
    async def work(talk: Conversation) -> None:
        talk.builds.stuck = True
        solving = asyncio.create_task(solve(talk, {}))
        await talk.builds.begun.wait()
        solving.cancel()
        await talk.builds.cancelled.wait()

    converse(a_client(), work)


def test_a_front_end_that_is_none_of_ours() -> None:
    async def work(talk: Conversation) -> None:
        for request in (
            SolveRequest("job", session="s1", frontend="gateway.v0"),
            SolveRequest("job", session="s1", definition=b"\n\0"),
        ):
            with pytest.raises(CallFailed, match="is not supported"):
                await talk.control.ask(f"{_CONTROL}/Solve", encode(request))

    converse(a_client(), work)


def test_what_buildx_asks_beforehand() -> None:
    async def work(talk: Conversation) -> None:
        workers = decode(WorkersResponse, await talk.control.ask(f"{_CONTROL}/ListWorkers", encode(Empty())))
        assert workers.record[0].platforms[0].architecture == "amd64"
        pong = decode(Pong, await talk.control.ask(f"{_BRIDGE}/Ping", b"", _JOB))
        assert "return" in {one.id for one in pong.frontend_caps}
        with pytest.raises(CallFailed) as failed:
            await talk.control.ask(f"{_CONTROL}/ListenBuildHistory", b"")
        assert failed.value.code == Code.UNIMPLEMENTED
        with pytest.raises(CallFailed):
            await talk.control.ask(f"{_CONTROL}/Solve", b"\xff")

    converse(a_client(), work)
