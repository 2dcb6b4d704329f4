"""The image verbs: what the image store does, together with who uses an image, and with events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing

from guest_agent.engine.instructions import apply_changes
from guest_agent.engine.parts import Parts
from guest_agent.images.archive import load
from guest_agent.images.make import Recipe, make_image
from guest_agent.images.platforms import parse_platform
from guest_agent.images.pull import pull
from guest_agent.wire.models import ContainerConfig, Credentials, HistoryEntry, Image, ImageDeletion, ImageId

#: Outside the class: its method `list` hides the type of that name.
_UserLists = defaultdict[ImageId, list[tuple[str, bool]]]


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

    def history(self, ref: str) -> tuple[HistoryEntry, ...]:
        """Oldest first, as in the configuration."""
        return self.find(ref).config.history

    async def pull(
        self, reference: str, platform: str, credentials: Credentials | None
    ) -> AsyncGenerator[dict[str, object], None]:
        """docker's progress objects; raises HostvmError at any point, with nothing of the image visible."""
        pulling = pull(self._parts.images, reference, platform, self._parts.registries, credentials)
        async with aclosing(pulling) as reports:
            async for report in reports:
                yield report
        self._tell(self.find(reference), "pull", reference)

    async def load(self, chunks: AsyncIterator[bytes], quiet: bool) -> AsyncIterator[dict[str, object]]:
        """A docker or OCI archive; `quiet` leaves nothing out, since there is no progress to tell."""
        async for report in load(self._parts.images, chunks):
            yield report

    async def import_root(
        self, chunks: AsyncIterator[bytes], reference: str, message: str, changes: tuple[str, ...], platform: str
    ) -> ImageId:
        """An image of one layer from the tar of a root file system."""
        recipe = Recipe(
            config=apply_changes(ContainerConfig(), changes),
            name=reference,
            comment=message or "Imported from -",
            platform=parse_platform(platform) if platform else None,
        )
        identity = await make_image(self._parts.images, recipe, chunks)
        self._tell(self.find(identity), "import", reference)
        return identity

    def tag(self, source: str, target: str) -> None:
        """One more name; it moves where another image had it."""
        self._parts.images.tag(source, target)
        self._tell(self.find(target), "tag", target)

    async def remove(self, ref: str, force: bool, no_prune: bool) -> tuple[ImageDeletion, ...]:
        """Untag, and delete what has no name left. Conflict while containers use it."""
        deletions = await self._parts.images.remove(ref, force, self._users())
        for deletion in deletions:
            action = "untag" if deletion.untagged else "delete"
            if deletion.untagged or deletion.deleted:
                self._parts.events.publish("image", action, deletion.deleted or ref, {"name": deletion.untagged or ref})
        return deletions

    def _users(self) -> Mapping[ImageId, Sequence[tuple[str, bool]]]:
        users = _UserLists(list)
        for container in self._parts.table.all():
            users[container.image_id].append((container.short_id, container.running))
        return users

    def _tell(self, image: Image, action: str, name: str) -> None:
        self._parts.events.publish("image", action, image.config.id, {**image.config.config.labels, "name": name})
