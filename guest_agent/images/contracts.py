"""What images ask of the layer store. The engine passes in one that fits (layers.store.LayerStore).

Only `ImageLayers.removing` and `LayerStaging.record` touch records and belong to the main thread; the rest may be
called from any thread, and blocks.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import AbstractContextManager
from typing import Protocol

from guest_agent.wire.models import DiffId


class LayerUnpacker(Protocol):
    """One layer on its way in."""

    def write(self, data: bytes) -> None:
        """The next bytes of the tar, compressed or not. Raises PeerMisbehaved or HostFailed, with one clear line."""

    def finish(self) -> DiffId:
        """The stream is complete and verified; the layer belongs to the staging."""

    def abort(self) -> None:
        """Drop it. MUST be fine at any time, and without effect after `finish`."""


class LayerStaging(Protocol):
    """The layers of one image in the making; nothing of it is visible before `recorded`."""

    def unpacker(self) -> LayerUnpacker: ...

    def reuse(self, diff_id: DiffId) -> bool:
        """If the store has it, also unrecorded: True, and it can't be removed while the staging lives."""

    def publish(self) -> None:
        """Put everything on the disk (the content store's blobs too)."""

    def record(self) -> None:
        """Within the transaction that records the image."""

    def recorded(self) -> None:
        """After it."""

    def close(self) -> None:
        """Undo whatever wasn't recorded. MUST be idempotent."""


class ImageLayers(Protocol):
    def has(self, diff_id: DiffId) -> bool: ...

    def known(self) -> tuple[DiffId, ...]: ...

    def size(self, diff_id: DiffId) -> int: ...

    def tar_size(self, diff_id: DiffId) -> int:
        """Bytes of the tar. Blocks."""

    def tar(self, diff_id: DiffId) -> Generator[bytes, None, None]:
        """The layer's tar, as it came; blocks. Raises DataDamaged, at the end at the latest, if it can't be that."""

    def stage(self) -> LayerStaging: ...

    def removing(self, diff_ids: Collection[DiffId]) -> AbstractContextManager[None]:
        """A transaction for the block, with which those go that no staging claims. All MUST stay where it fails."""

    def sweep(self) -> None:
        """Remove the files of those that went; slow."""
