"""/build, which has the parameters of docker's classic builder, and /build/prune."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import partial

from guest_agent.api.build_cache import parse_prune
from guest_agent.api.build_streams import Report, lines_and_files, progress_lines
from guest_agent.api.buildkit import BuildKitResource
from guest_agent.api.contract import Engine
from guest_agent.api.credentials import parse_registry_config
from guest_agent.api.fields import Fields, read_fields
from guest_agent.api.json_bodies import parse_json
from guest_agent.api.messages import TYPE_JSON, Answer, Body, Hijack, Response, Stream, json_response, render_json
from guest_agent.api.query import Query
from guest_agent.api.router import Call, Route
from guest_agent.api.streams import begun, byte_stream
from guest_agent.engine.build_requests import BuildRequest
from guest_agent.engine.build_results import BuildResult
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.resources import Resources, Ulimit

#: Builders that a client can ask for.
_CLASSIC, _BUILDKIT = "1", "2"
#: The protocol of a line to an ssh agent (engine/lent_agents).
_AGENT = "hostvm-agent"


class BuildResource:
    def __init__(self, engine: Engine) -> None:
        self._builds = engine.builds
        self._buildkit = BuildKitResource(engine)

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("POST", "/build", self.build),
            Route("POST", "/hostvm/build", self.build_from_cache),
            Route("POST", "/hostvm/build/files", self.build_files),
            Route("POST", "/hostvm/agent", self.lend_agent),
            Route("POST", "/build/prune", self.prune, durable=True),
            *self._buildkit.routes(),
        )

    async def build(self, call: Call) -> Answer:
        """An error before the first report is an HTTP error; later ones are lines of the stream."""
        request = parse_build(call.query, call.request.headers.get("x-registry-config", ""))
        if call.query.text("version") == _BUILDKIT:
            building = self._buildkit.build(call, request)
        else:
            building = self._builds.build(request, call.request.body)
        return Stream(progress_lines(await begun(building)), content_type=TYPE_JSON)

    async def build_from_cache(self, call: Call) -> Answer:
        """What `/build` answers, where all of it is cached; else 409, and nothing has been done.

        The body has of the context only the Dockerfile and .dockerignore; `hostvm-context` names what it would be.
        """
        reports = await self._builds.build_from_cache(parse_build(call.query), call.request.body)
        return Response(body=b"".join(map(render_json, reports)), content_type=TYPE_JSON)

    async def build_files(self, call: Call) -> Answer:
        """What `/build` answers, or with `hostvm-cached` `/hostvm/build`; then `{"files": "tar"}`, and the tar of them.

        Without a tag no image is made.
        """
        request = parse_build(call.query, call.request.headers.get("x-registry-config", ""))
        request = replace(request, for_files=not request.tags)
        result, body = self._builds.open_result(), call.request.body
        cached = call.query.flag("hostvm-cached")
        building = self._cached(request, body, result) if cached else self._builds.build(request, body, result=result)
        return Stream(byte_stream(await begun(lines_and_files(building, result))))

    async def lend_agent(self, call: Call) -> Answer:
        """A line to an ssh agent: it carries nothing until a build with its token asks, then what the agent does."""
        if call.request.headers.get("upgrade", "") != _AGENT:
            raise InvalidArgument(f"this exchange needs the header Upgrade: {_AGENT}")
        return Hijack(partial(self._builds.lend_agent, call.query.text("token")), protocol=_AGENT)

    async def _cached(self, request: BuildRequest, body: Body, result: BuildResult) -> AsyncGenerator[Report, None]:
        for report in await self._builds.build_from_cache(request, body, result):
            yield report

    async def prune(self, call: Call) -> Answer:
        gone, space = await self._builds.prune(parse_prune(call.query))
        return json_response({"CachesDeleted": [record.id for record in gone] or None, "SpaceReclaimed": space})


def parse_build(query: Query, registry_config: str = "") -> BuildRequest:
    """Raises InvalidArgument."""
    if query.text("version") not in ("", _CLASSIC, _BUILDKIT):
        raise InvalidArgument(f"invalid version {query.text('version')}")
    if query.text("isolation") not in ("", "default"):
        raise InvalidArgument(f'Unsupported isolation: "{query.text("isolation")}"')
    return BuildRequest(
        tags=query.texts("t"),
        dockerfile=query.text("dockerfile") or "Dockerfile",
        target=query.text("target"),
        arguments=_parse_arguments(query),
        labels=_parse_labels(query),
        no_cache=query.flag("nocache"),
        pull=query.flag("pull"),
        cache_from=_texts(query, "cachefrom"),
        platform=query.text("platform"),
        squash=query.flag("squash"),
        network_mode=query.text("networkmode"),
        extra_hosts=query.texts("extrahosts"),
        resources=_parse_resources(query),
        cgroup_parent=query.text("cgroupparent"),
        shm_size=query.integer("shmsize"),
        security_opt=query.texts("securityopt"),
        quiet=query.flag("q"),
        remote=query.text("remote"),
        credentials=parse_registry_config(registry_config),
        in_parts=query.flag("hostvm-parts"),
        named_images=_pairs(query, "hostvm-images"),
        agents=_pairs(query, "hostvm-agents"),
        context_key=query.text("hostvm-context"),
        workdir_for_user=query.flag("hostvm-workdir"),
    )


def _json(query: Query, name: str) -> object:
    text = query.text(name)
    return parse_json(text.encode("utf-8", "surrogateescape")) if text else None


def _texts(query: Query, name: str) -> tuple[str, ...]:
    """A JSON list of strings."""
    return Fields({name: _json(query, name)}).texts(name) or ()


def _pairs(query: Query, name: str) -> dict[str, str]:
    return Fields({name: _json(query, name)}).text_map(name)


def _parse_arguments(query: Query) -> dict[str, str | None]:
    """`null` is what `--build-arg NAME` sends where the client's environment has no such variable."""
    values = _json(query, "buildargs") or {}
    if not isinstance(values, dict) or not all(isinstance(one, str | None) for one in values.values()):
        raise InvalidArgument("error reading build args: expected an object of strings")
    return {str(name): value for name, value in values.items()}


def _parse_labels(query: Query) -> dict[str, str]:
    try:
        return _pairs(query, "labels")
    except InvalidArgument as error:
        raise InvalidArgument(f"error reading labels: {error.message}") from error


def _parse_resources(query: Query) -> Resources:
    return Resources(
        memory=query.integer("memory"),
        memory_swap=query.integer("memswap"),
        cpu_shares=query.integer("cpushares"),
        cpu_period=query.integer("cpuperiod"),
        cpu_quota=query.integer("cpuquota"),
        cpuset_cpus=query.text("cpusetcpus"),
        cpuset_mems=query.text("cpusetmems"),
        ulimits=tuple(_parse_ulimits(query)),
    )


def _parse_ulimits(query: Query) -> list[Ulimit]:
    listed = _json(query, "ulimits") or []
    if not isinstance(listed, list):
        raise InvalidArgument("error reading ulimit settings: expected a list")
    limits = []
    for item in listed:
        fields = read_fields(item)
        limits.append(Ulimit(fields.text("Name"), fields.integer("Soft"), fields.integer("Hard")))
    return limits
