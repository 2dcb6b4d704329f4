"""What the build cache takes on the disk, and its pruning: which records go says `build.pruning`."""

from __future__ import annotations

from dataclasses import dataclass, field

from guest_agent.build.pruning import plan_prune
from guest_agent.engine.build_caches import CacheFolders
from guest_agent.engine.build_session import BuildSession
from guest_agent.engine.parts import Parts
from guest_agent.wire.cache_records import CacheRecord, PruneRequest


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """One for the engine's life. `sessions`: the builds that run."""

    parts: Parts
    folders: CacheFolders
    sessions: list[BuildSession] = field(default_factory=list)

    async def listed(self) -> tuple[CacheRecord, ...]:
        """The steps as they are when the folders have been measured."""
        folders = await self.folders.listed()
        in_images = {diff_id for image in self.parts.images.all() for diff_id in image.config.diff_ids}
        in_use = {key for session in self.sessions for key in session.steps}
        return (*self.parts.build_cache.listed(in_images, in_use), *folders)

    async def prune(self, request: PruneRequest) -> tuple[tuple[str, ...], int]:
        """Ids of the records that are gone, and the bytes that are free again."""
        parts = self.parts
        planned = plan_prune(await self.listed(), request)
        layers = parts.build_cache.drop(planned)
        if request.is_total:
            parts.build_cache.drop_small()
        sizes = {diff_id: parts.layers.size(diff_id) for diff_id in layers}
        freed = await self.folders.prune(planned)
        await parts.images.drop_unused_layers()
        freed += sum(size for diff_id, size in sizes.items() if not parts.layers.has(diff_id))
        parts.events.publish("builder", "prune", "", {"reclaimed": str(freed)})
        return planned, freed
