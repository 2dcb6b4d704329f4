"""/hostvm/manifests: what `manifest` needs of a registry; docker's command line asks registries itself."""

from __future__ import annotations

from guest_agent.api.contract import Engine
from guest_agent.api.credentials import parse_credentials
from guest_agent.api.fields import Fields, read_fields
from guest_agent.api.messages import Answer, Response, json_response
from guest_agent.api.router import Call, Route
from guest_agent.wire.models import Credentials, Digest, ListEntry


class ManifestsResource:
    def __init__(self, engine: Engine) -> None:
        self._images = engine.images

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/hostvm/manifests", self.read),
            Route("POST", "/hostvm/manifests", self.push),
        )

    async def read(self, call: Call) -> Answer:
        """The document itself, with its media type."""
        data, media_type = await self._images.read_manifest(
            call.query.text("name"), _credentials(call), call.query.flag("insecure")
        )
        return Response(200, data, media_type)

    async def push(self, call: Call) -> Answer:
        """`{"Name", "Insecure", "Manifests"}` -> `{"Digest"}`.

        Each manifest is `{"Reference", "MediaType", "Digest", "Size", "Platform": …}`.
        """
        body = read_fields(await call.request.json())
        entries = [_entry(item) for item in body.parts("Manifests")]
        digest = await self._images.push_list(body.text("Name"), entries, _credentials(call), body.flag("Insecure"))
        return json_response({"Digest": digest})


def _credentials(call: Call) -> Credentials | None:
    return parse_credentials(call.request.headers.get("x-registry-auth", ""))


def _entry(item: Fields) -> ListEntry:
    platform = item.part("Platform")
    return ListEntry(
        reference=item.text("Reference"),
        media_type=item.text("MediaType"),
        digest=Digest(item.text("Digest")),
        size=item.integer("Size"),
        platform=(platform.text("os"), platform.text("architecture"), platform.text("variant")),
        os_version=platform.text("os.version"),
        os_features=platform.texts("os.features") or (),
    )
