"""/containers/{id}/archive and /changes: a container's files as a tar, in both directions, and what it changed."""

from __future__ import annotations

import base64

from guest_agent.api.contract import Engine
from guest_agent.api.messages import Answer, Headers, Response, Stream, json_response, render_json
from guest_agent.api.query import Query
from guest_agent.api.router import Call, Route
from guest_agent.api.streams import begun, chunks_of
from guest_agent.engine.requests import ExtractRequest, PathStat
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.times import rfc3339


class ArchivesResource:
    def __init__(self, engine: Engine) -> None:
        self._files = engine.files

    def routes(self) -> tuple[Route, ...]:
        path = "/containers/{name}/archive"
        return (
            Route("HEAD", path, self.stat),
            Route("GET", path, self.fetch),
            Route("PUT", path, self.extract),
            Route("GET", "/containers/{name}/changes", self.changes),
        )

    async def stat(self, call: Call) -> Answer:
        found = await self._files.stat(call.name, _path(call.query))
        return Response(200, headers=path_stat_header(found))

    async def fetch(self, call: Call) -> Answer:
        found, pieces = await self._files.open_archive(call.name, _path(call.query))
        return Stream(chunks_of(await begun(pieces)), content_type="application/x-tar", headers=path_stat_header(found))

    async def extract(self, call: Call) -> Answer:
        query = call.query
        request = ExtractRequest(
            call.name, _path(query), query.flag("noOverwriteDirNonDir"), copy_owner=query.flag("copyUIDGID")
        )
        await self._files.extract(request, call.request.body)
        return Response(200)

    async def changes(self, call: Call) -> Answer:
        found = await self._files.changes(call.name)
        return json_response([{"Path": change.path, "Kind": change.kind} for change in found])


def _path(query: Query) -> str:
    path = query.text("path")
    if not path:
        raise InvalidArgument("bad parameter: 'path' cannot be empty")
    if "\0" in path:
        raise InvalidArgument("invalid path: it holds a zero byte")
    return path


def path_stat_header(found: PathStat) -> Headers:
    """Base64 of JSON, as Go's client decodes it."""
    fields = {
        "name": found.name,
        "size": found.size,
        "mode": found.mode,
        "mtime": rfc3339(found.mtime_ns),
        "linkTarget": found.link_target,
    }
    return (("X-Docker-Container-Path-Stat", base64.b64encode(render_json(fields).rstrip()).decode()),)
