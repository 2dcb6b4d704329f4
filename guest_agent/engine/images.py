"""The image verbs: what the image store does, together with who uses an image, and with events."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from guest_agent.engine.instructions import apply_changes
from guest_agent.engine.parts import Parts
from guest_agent.images.archive import load
from guest_agent.images.artefacts import is_referrers_tag
from guest_agent.images.compress import parse_compression
from guest_agent.images.inquiries import Found, describe, download, list_tags, log_in, search_index
from guest_agent.images.make import Recipe, make_image
from guest_agent.images.manifest_lists import push_list, read_manifest
from guest_agent.images.platforms import parse_platform
from guest_agent.images.pull import pull, pull_tags
from guest_agent.images.push import push
from guest_agent.images.reference import parse_reference
from guest_agent.images.save import choose_images, save
from guest_agent.images.transport import RegistrySettings
from guest_agent.wire.errors import InvalidArgument, NotFound
from guest_agent.wire.models import (
    ContainerConfig,
    Credentials,
    Distribution,
    HistoryEntry,
    Image,
    ImageDeletion,
    ImageId,
    ListEntry,
)

#: Outside the class: its method `list` hides the type of that name.
_UserLists = defaultdict[ImageId, list[tuple[str, bool]]]
Folders = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One step: what it left in bytes, and the image that it made, where that is here."""

    entry: HistoryEntry
    size: int
    image: Image | None


class Images:
    """The image verbs of the engine."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def list(self) -> tuple[Image, ...]:
        """Newest first."""
        return self._parts.images.all()

    def find(self, ref: str) -> Image:
        """Raises NotFound."""
        return self._parts.images.find(ref)

    def history(self, ref: str) -> tuple[HistoryLine, ...]:
        """Newest first. An ancestor that is here as an image has its id at the last of the entries that it has, too."""
        image = self.find(ref)
        sizes = iter(image.layer_sizes)
        entries = image.config.history
        filled = [(entry, 0 if entry.empty_layer else next(sizes, 0)) for entry in entries]
        ends = {len(entries): image} | {len(one.config.history): one for one in self._ancestors(image)}
        lines = [HistoryLine(entry, size, ends.get(number)) for number, (entry, size) in enumerate(filled, 1)]
        return tuple(reversed(lines))

    def _ancestors(self, image: Image) -> Iterator[Image]:
        while image.parent:
            try:
                image = self._parts.images.get(ImageId(image.parent))
            except NotFound:
                return
            yield image

    def has_children(self, image: Image) -> bool:
        """Is it but a step on the way to another image? (`images` without -a hides these.)"""
        return self._parts.images.has_children(image.config.id)

    def layer_folders(self, image: Image) -> Folders:
        """Where its layers lie, uppermost first."""
        return tuple(self._parts.layers.path(diff_id) for diff_id in reversed(image.config.diff_ids))

    def layers_size(self) -> int:
        """Bytes of all unpacked layers."""
        layers = self._parts.layers
        return sum(layers.size(diff_id) for diff_id in layers.known())

    async def pull(
        self, reference: str, platform: str, credentials: Credentials | None
    ) -> AsyncGenerator[dict[str, object], None]:
        """docker's progress objects; raises HostvmError at any point, with nothing of the image visible."""
        pulling = pull(self._parts.images, reference, platform, self._parts.registries, credentials)
        async with aclosing(pulling) as reports:
            async for report in reports:
                yield report
        self._tell_name("pull", parse_reference(reference).with_default_tag().familiar)

    async def pull_all(
        self, repository: str, platform: str, credentials: Credentials | None
    ) -> AsyncGenerator[dict[str, object], None]:
        """Every tag of a repository, one after the other. Raises HostvmError; what came before it is there then."""
        parse_platform(platform)  # it is refused before a registry is asked
        reference, registries = parse_reference(repository), self._parts.registries
        listed = await list_tags(repository, registries, credentials)
        tags = [tag for tag in listed if not is_referrers_tag(tag)]
        pulling = pull_tags(self._parts.images, reference, tags, platform, registries, credentials)
        async with aclosing(pulling) as reports:
            async for report in reports:
                yield report
        self._tell_name("pull", reference.familiar)

    async def push(
        self, name: str, tag: str, credentials: Credentials | None, compression: str
    ) -> AsyncGenerator[dict[str, object], None]:
        """docker's progress objects; `tag` "" pushes all of the repository's. Raises HostvmError at any point."""
        reference = parse_reference(f"{name}:{tag}" if tag else name)
        if reference.digest:
            raise InvalidArgument("cannot push a digest reference")
        how = parse_compression(compression)
        pushing = push(self._parts.images, reference, self._parts.registries, credentials, how)
        async with aclosing(pushing) as reports:
            async for report in reports:
                yield report
        self._tell_name("push", reference.familiar)

    async def attach(self, ref: str, media_type: str, document: bytes) -> None:
        """Keeps a document beside an image, for its pushes. Raises NotFound, InvalidArgument."""
        if "/" not in media_type:
            raise InvalidArgument(f"not a media type: {media_type!r}")
        await self._parts.images.records.attach(self.find(ref).config.id, media_type, document)

    async def distribution(self, name: str, credentials: Credentials | None, insecure: bool = False) -> Distribution:
        """What a registry says of an image. Raises NotFound, Unauthorized, Unavailable."""
        return await asyncio.to_thread(describe, name, self._registries(name, insecure), credentials)

    async def read_manifest(
        self, name: str, credentials: Credentials | None, insecure: bool = False
    ) -> tuple[bytes, str]:
        """What a registry has under a name, and its media type. Raises NotFound, Unauthorized, Unavailable."""
        document = await asyncio.to_thread(read_manifest, name, self._registries(name, insecure), credentials)
        return document.data, document.media_type

    async def push_list(
        self, name: str, entries: Sequence[ListEntry], credentials: Credentials | None, insecure: bool = False
    ) -> str:
        """A manifest list for a registry; its digest."""
        return await asyncio.to_thread(push_list, name, entries, self._registries(name, insecure), credentials)

    def _registries(self, name: str, insecure: bool) -> RegistrySettings:
        """Those of the configuration, or with the name's own registry called insecure for this once."""
        settings = self._parts.registries
        if not insecure:
            return settings
        return replace(settings, insecure=(*settings.insecure, parse_reference(name).domain))

    async def authenticate(self, server: str, credentials: Credentials) -> str:
        """Try credentials at a registry; its identity token, "" for none. Raises Unauthorized, Unavailable."""
        return await asyncio.to_thread(log_in, server, self._parts.registries, credentials)

    async def search(self, term: str, limit: int) -> Found:
        """What an index knows; Docker's own can't be replaced. Raises Unavailable."""
        return await asyncio.to_thread(search_index, term, limit, self._parts.registries)

    async def load(self, chunks: AsyncIterator[bytes], quiet: bool) -> AsyncIterator[dict[str, object]]:
        """A docker or OCI archive; `quiet` leaves the bars out."""
        loading = load(self._parts.images, chunks, lambda image_id: self._tell_id("load", image_id))
        async with aclosing(loading) as reports:
            async for report in reports:
                if not (quiet and "progress" in report):
                    yield report

    async def save(self, names: Sequence[str]) -> AsyncGenerator[bytes, None]:
        """Images as an archive. Raises NotFound before the first piece."""
        chosen = choose_images(self._parts.images, names)
        async with aclosing(save(self._parts.images, chosen)) as pieces:
            async for piece in pieces:
                yield piece
        for one in chosen:
            self._tell_id("save", one.image.config.id)

    async def import_root(
        self, chunks: AsyncIterator[bytes], reference: str, message: str, changes: tuple[str, ...], platform: str
    ) -> ImageId:
        """An image of one layer from the tar of a root file system."""
        wanted = parse_platform(platform) if platform else None
        if wanted and wanted.os != "linux":
            raise InvalidArgument("operating system is not supported")
        recipe = Recipe(
            config=apply_changes(ContainerConfig(), changes),
            name=reference,
            comment=message or "Imported from -",
            platform=wanted,
        )
        identity = await make_image(self._parts.images, recipe, chunks)
        if reference:
            self._tell(identity, "tag", parse_reference(reference).with_default_tag().familiar)
        self._tell_id("import", identity)
        return identity

    async def import_from(
        self, url: str, reference: str, message: str, changes: tuple[str, ...], platform: str
    ) -> ImageId:
        """The same with a tar that is downloaded. Raises Unavailable, PeerMisbehaved."""
        async with aclosing(download(url, self._parts.registries)) as chunks:
            return await self.import_root(chunks, reference, message or f"Imported from {url}", changes, platform)

    def tag(self, source: str, target: str) -> None:
        """One more name; it moves where another image had it."""
        image_id = self._parts.images.tag(source, target)
        self._tell(image_id, "tag", parse_reference(target).with_default_tag().familiar)

    async def remove(self, ref: str, force: bool, no_prune: bool) -> tuple[ImageDeletion, ...]:
        """Untag, and delete what has no name left. Conflict while containers use it."""
        labels = self._parts.images.find(ref).config.config.labels
        deletions = await self._parts.images.remove(ref, force, self._users(), prune=not no_prune)
        for deletion in deletions:
            identity = deletion.image_id
            if identity and deletion.untagged:
                self._parts.events.publish("image", "untag", identity, {**labels, "name": identity})
            elif identity:
                self._tell_id("delete", ImageId(identity))
        return deletions

    def tell_pruned(self, space: int) -> None:
        """Of all that were to go, the last is removed; `space` bytes are free again."""
        self._parts.events.publish("image", "prune", "", {"reclaimed": str(space)})

    def _users(self) -> Mapping[ImageId, Sequence[tuple[str, bool]]]:
        users = _UserLists(list)
        for container in self._parts.table.all():
            users[container.image_id].append((container.short_id, container.running))
        return users

    def _tell(self, image_id: ImageId, action: str, name: str) -> None:
        try:
            labels = self._parts.images.get(image_id).config.config.labels
        except NotFound:
            labels = {}  # it is gone
        self._parts.events.publish("image", action, image_id, {**labels, "name": name})

    def _tell_id(self, action: str, image_id: ImageId) -> None:
        self._tell(image_id, action, image_id)

    def _tell_name(self, action: str, name: str) -> None:
        """Pull and push are of a name: docker's actor is that, its attribute the name without the tag.

        All tags of a repository are one event, with the labels of `latest` where there is such a tag.
        """
        reference = parse_reference(name)
        try:
            labels = self.find(name).config.config.labels
        except NotFound:
            labels = {}
        self._parts.events.publish("image", action, reference.familiar, {**labels, "name": reference.familiar_name})
