"""What the build cache takes on the disk, and its pruning: which records go says `build.pruning`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from guest_agent.build.pruning import plan_prune
from guest_agent.engine.build_caches import CacheFolders
from guest_agent.engine.build_session import BuildSession
from guest_agent.engine.parts import Parts
from guest_agent.wire.cache_records import CacheRecord, PruneRequest, RecordType
from guest_agent.wire.models import DiffId


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

    async def prune(self, request: PruneRequest) -> tuple[tuple[CacheRecord, ...], int]:
        """The records that are gone, as they were, and the bytes that are free again.

        Once a record is gone the rest follows also where the caller is cancelled: what it was for belongs to nobody.
        """
        cache = self.parts.build_cache
        planned = plan_prune(await self.listed(), request)
        if request.is_total:
            cache.drop_small()
        identities = [record.id for record in planned]
        layers = cache.drop(identities)
        folders, freed = await self.parts.tasks.finish(self._free(layers, identities), "prune of the build cache")
        return tuple(one for one in planned if one.kind is RecordType.REGULAR or one.id in folders), freed

    async def _free(self, layers: Collection[DiffId], folders: Sequence[str]) -> tuple[frozenset[str], int]:
        """Of the folders those that were still unused, and the bytes that were only for all these."""
        parts = self.parts
        sizes = {diff_id: parts.layers.size(diff_id) for diff_id in layers}
        await parts.images.drop_unused_layers()
        freed = sum(size for diff_id, size in sizes.items() if not parts.layers.has(diff_id))
        gone, more = await self.folders.prune(folders)
        parts.events.publish("builder", "prune", "", {"reclaimed": str(freed + more)})
        return gone, freed + more
