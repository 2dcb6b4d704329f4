"""/containers/{id}/stats: once, or as it goes on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from guest_agent.api.contract import Engine
from guest_agent.api.messages import TYPE_JSON, Answer, Stream, json_response, render_json
from guest_agent.api.render_stats import render_stats
from guest_agent.api.router import Call, Route
from guest_agent.api.streams import begun, closing
from guest_agent.engine.statistics import Sample
from guest_agent.wire.errors import InvalidArgument


class StatsResource:
    def __init__(self, engine: Engine) -> None:
        self._statistics = engine.statistics

    def routes(self) -> tuple[Route, ...]:
        return (Route("GET", "/containers/{name}/stats", self.stats),)

    async def stats(self, call: Call) -> Answer:
        """`one-shot` (API 1.41) is a single look, without the one before it that a percentage takes."""
        stream = call.query.flag("stream", True)
        one_shot = call.version >= (1, 41) and call.query.flag("one-shot")
        if stream and one_shot:
            raise InvalidArgument("cannot have stream=true and one-shot=true")
        if stream:
            return Stream(_frames(await begun(self._statistics.stream(call.name))), content_type=TYPE_JSON)
        if one_shot:
            return json_response(render_stats(await self._statistics.sample(call.name), None))
        before, now = await self._statistics.two_samples(call.name)
        return json_response(render_stats(now, before))


async def _frames(samples: AsyncIterator[Sample]) -> AsyncGenerator[bytes, None]:
    before = None
    async with closing(samples) as source:
        async for sample in source:
            yield render_json(render_stats(sample, before))
            before = sample
