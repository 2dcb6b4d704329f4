"""/containers: list, create, inspect, and what is done to one. Streams and attach are in `container_streams`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence

from guest_agent.api.container_list import FILTERS, Selection, link_names, select
from guest_agent.api.contract import Engine
from guest_agent.api.fields import read_fields
from guest_agent.api.messages import TYPE_JSON, Answer, Response, json_response, no_content, render_json
from guest_agent.api.old_versions import adapt_create, adapt_update
from guest_agent.api.parse_config import parse_create, parse_update
from guest_agent.api.render_config import Json
from guest_agent.api.render_container import render_inspect, render_listed, render_row, shown_image, status_text
from guest_agent.api.rendered import Rendered
from guest_agent.api.router import Call, Route
from guest_agent.api.top import list_processes
from guest_agent.engine.container import Container
from guest_agent.engine.requests import Sizes
from guest_agent.wire.errors import Conflict, HostvmError, InvalidArgument, NotFound
from guest_agent.wire.models import ContainerId

_PRUNE_FILTERS = frozenset({"label", "label!", "until"})


class ContainersResource:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._containers = engine.containers
        info = engine.system.info()  # what inspect shows of it is constant
        self._runtime, self._driver = info.runtime, info.storage_driver
        self._cgroup_version = info.cgroup_version
        self._entries, self._rows, self._inspected = (Rendered(self._ids) for _ in range(3))

    def _ids(self) -> list[str]:
        return [one.id for one in self._containers.list(True)]

    def routes(self) -> tuple[Route, ...]:
        one = "/containers/{name}"
        return (
            Route("GET", "/containers/json", self.list, at_once=self.list_at_once),
            Route("POST", "/containers/create", self.create, durable=True),
            Route("POST", "/containers/prune", self.prune, durable=True),
            Route("GET", f"{one}/json", self.inspect, at_once=self.inspect_at_once),
            Route("GET", f"{one}/top", self.top),
            Route("POST", f"{one}/start", self.start, durable=True),
            Route("POST", f"{one}/stop", self.stop, durable=True),
            Route("POST", f"{one}/restart", self.restart, durable=True),
            Route("POST", f"{one}/kill", self.kill, durable=True),
            Route("POST", f"{one}/pause", self.pause, durable=True),
            Route("POST", f"{one}/unpause", self.unpause, durable=True),
            Route("POST", f"{one}/rename", self.rename, durable=True),
            Route("POST", f"{one}/update", self.update, durable=True),
            Route("POST", f"{one}/resize", self.resize),
            Route("DELETE", one, self.remove, durable=True),
        )

    async def list(self, call: Call) -> Answer:
        return self.list_at_once(call) or await self._list_with_sizes(call)

    def list_at_once(self, call: Call) -> Response | None:
        """Without sizes, which are counted on the disk."""
        if call.query.flag("size"):
            return None
        chosen = self._chosen(call)
        current, now, links = self._current_images(chosen), time.time_ns(), link_names(self._containers)
        line = self._row if call.query.flag("hostvm-brief") else self._entry
        lines = [line(one, shown_image(one, current), now, links.get(one.id, ())) for one in chosen]
        return Response(200, b"[%s]\n" % b",".join(lines), TYPE_JSON)

    def _entry(self, one: Container, image: str, now_ns: int, links: tuple[str, ...]) -> bytes:
        sources = (one, image, status_text(one.state, now_ns), links)
        return self._entries.text(one.id, sources, lambda: render_json(render_listed(one, image, now_ns, links))[:-1])

    def _row(self, one: Container, image: str, now_ns: int, links: tuple[str, ...]) -> bytes:
        """For our own command line, which takes longer to read the rest than to show a row."""
        sources = (one, image, status_text(one.state, now_ns), links)
        return self._rows.text(one.id, sources, lambda: render_json(render_row(one, image, now_ns, links))[:-1])

    async def _list_with_sizes(self, call: Call) -> Answer:
        chosen = self._chosen(call)
        current, now, links = self._current_images(chosen), time.time_ns(), link_names(self._containers)
        sizes = await self._sizes(chosen)
        return json_response(
            [
                render_listed(one, shown_image(one, current), now, links.get(one.id, ()), sizes[one.id])
                for one in chosen
                if one.id in sizes
            ]
        )

    def _chosen(self, call: Call) -> Sequence[Container]:
        query = call.query
        selection = Selection(query.flag("all"), query.integer("limit"), query.filters(FILTERS))
        return select(selection, self._containers, self._engine.images)

    async def _sizes(self, containers: Iterable[Container]) -> dict[ContainerId, Sizes]:
        """Of those that are still there."""
        found = {}
        for one in containers:
            with contextlib.suppress(NotFound):
                found[one.id] = await self._containers.sizes(one.id)
        return found

    def _current_images(self, containers: Iterable[Container]) -> dict[str, str]:
        """Name -> id of the image that it means today."""
        found: dict[str, str] = {}
        for name in {one.image_name for one in containers}:
            try:
                found[name] = self._engine.images.find(name).config.id
            except HostvmError:
                continue  # removed, or no name at all: the list shows the id
        return found

    async def create(self, call: Call) -> Answer:
        found = await call.request.json()
        if found is None:
            raise InvalidArgument("invalid JSON: got EOF while reading request body")
        body = read_fields(found)
        request = parse_create(call.query.text("name"), body, call.query.text("platform"))
        created = await self._containers.create(adapt_create(request, call.version, self._cgroup_version))
        return json_response({"Id": created.id, "Warnings": list(created.warnings)}, 201)

    async def inspect(self, call: Call) -> Answer:
        return self.inspect_at_once(call) or await self._inspect_with_sizes(call)

    def inspect_at_once(self, call: Call) -> Response | None:
        if call.query.flag("size"):
            return None
        one = self._containers.find(call.name)
        exec_ids = self._engine.execs.for_container(one.id)
        text = self._inspected.text(one.id, (one, exec_ids), lambda: render_json(self._render(one, exec_ids)))
        return Response(200, text, TYPE_JSON)

    async def _inspect_with_sizes(self, call: Call) -> Answer:
        one = self._containers.find(call.name)
        sizes = await self._containers.sizes(one.id)
        return json_response(self._render(one, self._engine.execs.for_container(one.id), sizes))

    def _render(self, container: Container, exec_ids: tuple[str, ...], sizes: Sizes | None = None) -> Json:
        return render_inspect(container, self._runtime, self._driver, exec_ids, sizes)

    async def top(self, call: Call) -> Answer:
        pids = self._containers.top_pids(call.name)
        return json_response(await list_processes(pids, call.query.text("ps_args") or "-ef"))

    async def start(self, call: Call) -> Answer:
        await self._containers.start(call.name)
        return no_content()

    async def stop(self, call: Call) -> Answer:
        await self._containers.stop(call.name, call.query.timeout(), call.query.text("signal"))
        return no_content()

    async def restart(self, call: Call) -> Answer:
        await self._containers.restart(call.name, call.query.timeout(), call.query.text("signal"))
        return no_content()

    async def kill(self, call: Call) -> Answer:
        await self._containers.kill(call.name, call.query.text("signal") or "KILL")
        return no_content()

    async def pause(self, call: Call) -> Answer:
        await self._containers.pause(call.name)
        return no_content()

    async def unpause(self, call: Call) -> Answer:
        await self._containers.unpause(call.name)
        return no_content()

    async def rename(self, call: Call) -> Answer:
        name = call.query.text("name")
        if not name:
            raise InvalidArgument("Neither old nor new names may be empty")
        await self._containers.rename(call.name, name)
        return no_content()

    async def update(self, call: Call) -> Answer:
        request = adapt_update(parse_update(read_fields(await call.request.json())), call.version)
        warnings = await self._containers.update(call.name, request)
        return json_response({"Warnings": list(warnings) or None})

    async def resize(self, call: Call) -> Answer:
        rows, columns = call.query.size()
        self._containers.resize(call.name, rows, columns)
        return Response(200)

    async def remove(self, call: Call) -> Answer:
        query = call.query
        if query.flag("link"):
            await self._containers.remove_link(call.name)
            return no_content()
        await self._containers.remove(call.name, query.flag("force"), query.flag("v"))
        return no_content()

    async def prune(self, call: Call) -> Answer:
        filters = call.query.filters(_PRUNE_FILTERS)
        until = filters.until(time.time_ns())
        deleted, space = [], 0
        for container in self._containers.list(True):
            if container.state.status not in ("created", "exited", "dead"):
                continue
            if (until is not None and container.created_ns > until) or not filters.labels(container.config.labels):
                continue
            freed = await self._prune(container)
            if freed is not None:
                deleted.append(container.id)
                space += freed
        self._containers.tell_pruned(space)
        return json_response({"ContainersDeleted": deleted or None, "SpaceReclaimed": space})

    async def _prune(self, container: Container) -> int | None:
        """Bytes freed; None if it was started or removed meanwhile."""
        try:
            size = (await self._containers.sizes(container.id)).read_write
            await self._containers.remove(container.id)
        except (Conflict, NotFound):
            return None
        return size
