"""/images, /commit and /hostvm/attachments."""

from __future__ import annotations

import time

from guest_agent.api.contract import Engine
from guest_agent.api.credentials import parse_credentials
from guest_agent.api.fields import read_fields
from guest_agent.api.image_list import FILTERS, PRUNE_FILTERS, SEARCH_FILTERS, prunable, search_filter, select
from guest_agent.api.messages import TYPE_JSON, Answer, Response, Stream, json_response, render_json
from guest_agent.api.parse_config import parse_config
from guest_agent.api.query import Query
from guest_agent.api.render_config import Json
from guest_agent.api.render_image import (
    render_distribution,
    render_found,
    render_history,
    render_image,
    render_listed,
    shared_sizes,
)
from guest_agent.api.router import Call, Route
from guest_agent.api.streams import begun, byte_stream, progress_stream
from guest_agent.engine.requests import CommitRequest
from guest_agent.wire.errors import Conflict, InvalidArgument, NotFound
from guest_agent.wire.models import ImageDeletion


class ImagesResource:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._images = engine.images
        self._driver = engine.system.info().storage_driver

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/images/json", self.list),
            Route("POST", "/images/create", self.create),
            Route("GET", "/images/get", self.save),
            Route("POST", "/images/load", self.load),
            Route("POST", "/images/prune", self.prune, durable=True),
            Route("GET", "/images/search", self.search),
            Route("GET", "/images/{name}/get", self.save),
            Route("GET", "/images/{name}/json", self.inspect),
            Route("GET", "/images/{name}/history", self.history),
            Route("POST", "/images/{name}/push", self.push),
            Route("POST", "/images/{name}/tag", self.tag, durable=True),
            Route("DELETE", "/images/{name}", self.remove, durable=True),
            Route("GET", "/distribution/{name}/json", self.distribution),
            Route("POST", "/commit", self.commit, durable=True),
            Route("POST", "/hostvm/attachments", self.attach, durable=True),
        )

    async def list(self, call: Call) -> Answer:
        filters = call.query.filters(FILTERS)
        if call.version < (1, 41) and call.query.text("filter"):
            filters = filters.also("reference", call.query.text("filter"))
        images = select(self._images, filters, call.query.flag("all"), time.time_ns())
        shared = shared_sizes(self._images.list()) if call.query.flag("shared-size") else {}
        return json_response([render_listed(one, -1, shared.get(one.config.id, -1), call.version) for one in images])

    async def create(self, call: Call) -> Answer:
        """A pull. An error before the first report is still an HTTP error; later ones are lines of the stream."""
        query = call.query
        if query.text("fromSrc"):
            return await self._import(call)
        reference = pull_reference(query)
        credentials = parse_credentials(call.request.headers.get("x-registry-auth", ""))
        all_tags = call.query.text("tag") == "" and is_bare(reference)
        pull = self._images.pull_all if all_tags else self._images.pull
        reports = await begun(pull(reference, query.text("platform"), credentials))
        return Stream(progress_stream(reports), content_type=TYPE_JSON)

    async def _import(self, call: Call) -> Answer:
        """The body, or what the URL has, is the tar of a root file system; the one line is the new image's id."""
        query = call.query
        wanted = (image_name(query), query.text("message"), query.texts("changes"), query.text("platform"))
        source = query.text("fromSrc")
        if source == "-":
            image_id = await self._images.import_root(call.request.body, *wanted)
        else:
            image_id = await self._images.import_from(source, *wanted)
        return Response(200, render_json({"status": image_id}), TYPE_JSON)

    async def load(self, call: Call) -> Answer:
        """Every error is a line of the stream, as dockerd does it."""
        reports = self._images.load(call.request.body, call.query.flag("quiet"))
        return Stream(progress_stream(reports), content_type=TYPE_JSON)

    async def save(self, call: Call) -> Answer:
        names = (call.name,) if call.name else call.query.texts("names")
        pieces = await begun(self._images.save(tuple(name for text in names for name in text.split(",") if name)))
        return Stream(byte_stream(pieces), content_type="application/x-tar")

    async def inspect(self, call: Call) -> Answer:
        image = self._images.find(call.name)
        return json_response(render_image(image, self._driver, self._images.layer_folders(image), call.version))

    async def history(self, call: Call) -> Answer:
        return json_response(render_history(self._images.history(call.name)))

    async def tag(self, call: Call) -> Answer:
        self._images.tag(call.name, image_name(call.query))
        return Response(201)

    async def push(self, call: Call) -> Answer:
        query = call.query
        credentials = parse_credentials(call.request.headers.get("x-registry-auth", ""))
        pushing = self._images.push(call.name, query.text("tag"), credentials, query.text("compression"))
        return Stream(progress_stream(await begun(pushing)), content_type=TYPE_JSON)

    async def search(self, call: Call) -> Answer:
        query = call.query
        filters = query.filters(SEARCH_FILTERS)
        wanted = search_filter(filters)
        if filters.flag("is-automated"):
            return json_response([])  # nothing is any more, whatever the index says
        found = await self._images.search(query.text("term"), query.integer("limit"))
        rendered = [render_found(item) for item in found]
        return json_response([item for item in rendered if wanted(item)])

    async def distribution(self, call: Call) -> Answer:
        credentials = parse_credentials(call.request.headers.get("x-registry-auth", ""))
        insecure = call.query.flag("hostvm-insecure")  # which docker's command line, asking itself, decides
        return json_response(render_distribution(await self._images.distribution(call.name, credentials, insecure)))

    async def remove(self, call: Call) -> Answer:
        query = call.query
        if not call.name.strip():
            raise InvalidArgument("image name cannot be blank")
        removed = await self._images.remove(call.name, query.flag("force"), query.flag("noprune"))
        return json_response([_deletion(item) for item in removed])

    async def prune(self, call: Call) -> Answer:
        filters = call.query.filters(PRUNE_FILTERS)
        used = {container.image_id for container in self._engine.containers.list(True)}
        before = self._images.layers_size()
        deleted: list[Json] = []
        for image in prunable(self._images, filters, used, time.time_ns()):
            try:
                for name in image.tags + image.digests or (image.config.id,):
                    deleted += [_deletion(item) for item in await self._images.remove(name, False, False)]
            except (Conflict, NotFound):
                continue
        space = max(0, before - self._images.layers_size())
        self._images.tell_pruned(space)
        return json_response({"ImagesDeleted": deleted or None, "SpaceReclaimed": space})

    async def attach(self, call: Call) -> Answer:
        """Keeps `{"MediaType", "Document"}` (a string) beside the image of that `name`; a push takes it along."""
        body = read_fields(await call.request.json())
        await self._images.attach(call.query.text("name"), body.text("MediaType"), body.text("Document").encode())
        return Response(201)

    async def commit(self, call: Call) -> Answer:
        """`hostvm-created`, our own, is the image's time in seconds: two commits of the same content are one image."""
        query = call.query
        body = await call.request.json()
        if not query.text("container"):
            raise InvalidArgument("container name or ID is required")
        request = CommitRequest(
            container=query.text("container"),
            reference=image_name(query),
            comment=query.text("comment"),
            author=query.text("author"),
            changes=query.texts("changes"),
            pause=query.flag("pause", True),
            config=parse_config(read_fields(body)) if body else None,
            created_ns=query.integer("hostvm-created") * 10**9,
        )
        return json_response({"Id": await self._engine.containers.commit(request)}, 201)


def image_name(query: Query) -> str:
    """`repo` and `tag`, "" if there is no name."""
    repository, tag = query.text("repo"), query.text("tag")
    return f"{repository}:{tag}" if repository and tag else repository


def pull_reference(query: Query) -> str:
    """`fromImage` and `tag`, which may be a digest. Without a tag it is what the reference itself says."""
    name, tag = query.text("fromImage"), query.text("tag")
    if not name:
        raise InvalidArgument("invalid reference format")
    if not tag:
        return name
    return f"{name}@{tag}" if ":" in tag else f"{name}:{tag}"


def is_bare(reference: str) -> bool:
    """Without tag and digest: at this endpoint that means all tags; a client adds `latest` itself."""
    return "@" not in reference and ":" not in reference.rpartition("/")[2]


def _deletion(item: ImageDeletion) -> Json:
    return {"Untagged": item.untagged} if item.untagged else {"Deleted": item.deleted}
