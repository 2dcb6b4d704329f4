"""Unpacked layers on disk, stored once, known by their diff id.

A layer is in the store if and only if it has a record (kind "layer"). The way there: unpacked by a helper process into
the folder for temporary things; when the image is complete, renamed into place; then ONE syncfs for all of its layers
and blobs; then the caller's transaction records layers and image together. Why syncfs: a layer is ten thousand files,
and an fsync each costs minutes; without any, a power cut leaves renamed folders with empty files, which no digest
would ever catch, because only unpacked files are kept. Killed before the record: start-up finds folders without one
and removes them. Killed after it: everything is there.

A *staging* is one image's work in progress. It claims the layers that it needs, so that a removal of another image
at the same time doesn't take them away.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Collection, Generator, Sequence
from threading import Lock

from guest_agent.layers.helper import UnpackProcess, packed
from guest_agent.store import files
from guest_agent.store.records import Records
from guest_agent.wire.errors import HostFailed, PeerMisbehaved
from guest_agent.wire.models import DiffId

_KIND = "layer"
#: 96 bit; 127 names of this length fit into the one page of mount(2)'s options.
_NAME_DIGITS = 24
#: overlayfs wants at least one lower folder.
_EMPTY = "empty"


def layer_name(diff_id: DiffId) -> str:
    """Name of the folder in the store."""
    return diff_id.removeprefix("sha256:")[:_NAME_DIGITS]


async def _without_blocking(pieces: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    try:
        while piece := await asyncio.to_thread(next, pieces, b""):
            yield piece
    finally:
        await asyncio.to_thread(pieces.close)


class LayerStore:
    """Layers by diff id. `userxattr` and `rootless` are for engines in a user namespace.

    What reads or changes records belongs to the main thread (start, remove, Staging.record); the rest is thread-safe.
    """

    def __init__(
        self, records: Records, layers_dir: str, temporary_dir: str, userxattr: bool = False, rootless: bool = False
    ) -> None:
        self.folder = layers_dir
        self._records = records
        self._temporary = temporary_dir
        self._userxattr = userxattr
        self._rootless = rootless
        self._lock = Lock()
        self._sizes: dict[DiffId, int] = {}
        self._claims: Counter[DiffId] = Counter()
        self._unrecorded: set[DiffId] = set()  # renamed into place by a staging that still lives
        self._leftovers: list[str] = []

    def start(self, set_aside: str = "") -> list[str]:
        """Read the records; compare them with the disk. Returns warnings.

        Folders without a record are removed by `sweep`. After the loss of the database give a folder in `set_aside`:
        they are kept there then.
        """
        for folder in (self._temporary, self.folder):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        os.makedirs(os.path.join(self.folder, _EMPTY), mode=0o755, exist_ok=True)
        self._sizes = {DiffId(key): int(json.loads(value)["size"]) for key, value in self._records.items(_KIND)}
        present = set(os.listdir(self.folder))
        warnings = self._forget_missing(present)
        orphans = present - {layer_name(diff_id) for diff_id in self._sizes} - {_EMPTY}
        warnings += self._bury(orphans, set_aside)
        self._leftovers = [os.path.join(self._temporary, name) for name in os.listdir(self._temporary)]
        return warnings

    def sweep(self) -> None:
        """Remove what a killed predecessor left in the folder for temporary things. Takes long; any thread."""
        leftovers, self._leftovers = self._leftovers, []
        for path in leftovers:
            files.remove_tree(path)

    def has(self, diff_id: DiffId) -> bool:
        return diff_id in self._sizes

    def known(self) -> tuple[DiffId, ...]:
        return tuple(self._sizes)

    def size(self, diff_id: DiffId) -> int:
        """Bytes of content in its files; 0 for an unknown one."""
        return self._sizes.get(diff_id, 0)

    def path(self, diff_id: DiffId) -> str:
        return os.path.join(self.folder, layer_name(diff_id))

    def names(self, diff_ids: Sequence[DiffId]) -> list[str]:
        """Folders for overlayfs' lowerdir, relative to `folder`, uppermost first, from an image's order (base first).

        A layer that occurs twice is named once, where it is uppermost: overlayfs refuses it twice (ELOOP), and the
        lower one is hidden by the upper one completely.
        """
        return list(dict.fromkeys(layer_name(diff_id) for diff_id in reversed(diff_ids))) or [_EMPTY]

    def stage(self) -> Staging:
        return Staging(self)

    def remove(self, diff_ids: Collection[DiffId]) -> list[str]:
        """Within a transaction: delete the records of those that no staging claims.

        Returns the folders, for `discard` after the transaction.
        """
        with self._lock:
            free = [diff_id for diff_id in diff_ids if diff_id in self._sizes and not self._claims[diff_id]]
            for diff_id in free:
                self._records.delete(_KIND, diff_id)
                del self._sizes[diff_id]
        return [self.path(diff_id) for diff_id in free]

    def discard(self, paths: Collection[str]) -> None:
        """Move the folders out of sight at once (fast), to be removed by `sweep` (slow)."""
        self._leftovers += [files.move_to_grave(path, self._temporary) for path in paths]

    def diff(self, upper: str) -> AsyncIterator[bytes]:
        """The tar of an overlay's upper folder as an OCI layer. Closing the iterator ends the helper."""
        return _without_blocking(packed(upper, whiteouts=True, userxattr=self._userxattr))

    def export(self, rootfs: str) -> AsyncIterator[bytes]:
        """The tar of a mounted root. Closing the iterator ends the helper."""
        return _without_blocking(packed(rootfs, whiteouts=False, userxattr=self._userxattr))

    def _forget_missing(self, present: Collection[str]) -> list[str]:
        """Records whose folder is gone: the images that need them are reported by the image store."""
        missing = [diff_id for diff_id in self._sizes if layer_name(diff_id) not in present]
        for diff_id in missing:
            self._records.delete(_KIND, diff_id)
            del self._sizes[diff_id]
        return [f"layer {diff_id} is missing in {self.folder}" for diff_id in missing]

    def _bury(self, names: Collection[str], set_aside: str) -> list[str]:
        paths = [os.path.join(self.folder, name) for name in sorted(names)]
        if set_aside:
            return [f"a layer without a record was set aside as {files.set_aside(path, set_aside)}" for path in paths]
        for path in paths:
            files.move_to_grave(path, self._temporary)
        return []

    # -- for Staging

    def _open(self) -> tuple[str, UnpackProcess]:
        folder = os.path.join(self._temporary, files.unique_name("layer-"))
        os.mkdir(folder, 0o755)
        os.chmod(folder, 0o755)
        return folder, UnpackProcess(folder, self._userxattr, self._rootless)

    def _claim(self, diff_id: DiffId, only_known: bool = False) -> bool:
        with self._lock:
            if only_known and diff_id not in self._sizes:
                return False
            self._claims[diff_id] += 1
            return True

    def _settle(self, diff_id: DiffId, folder: str) -> bool:
        """Put an unpacked folder in its place. False if the layer is there already."""
        with self._lock:
            if diff_id in self._sizes or diff_id in self._unrecorded:
                return False
            place = self.path(diff_id)
            if os.path.lexists(place):
                raise PeerMisbehaved(f"layer {diff_id} has the same first digits as another one in the store")
            os.rename(folder, place)
            self._unrecorded.add(diff_id)
            return True

    def _record(self, diff_id: DiffId, size: int) -> None:
        self._records.put(_KIND, diff_id, json.dumps({"size": size}))

    def _recorded(self, sizes: dict[DiffId, int]) -> None:
        with self._lock:
            self._sizes.update(sizes)
            self._unrecorded.difference_update(sizes)

    def _release(self, diff_ids: Collection[DiffId]) -> None:
        """Drop claims; a folder that nobody recorded and nobody claims any more goes."""
        with self._lock:
            self._claims.subtract(diff_ids)
            forsaken = {diff_id for diff_id in diff_ids if diff_id in self._unrecorded and not self._claims[diff_id]}
            self._unrecorded -= forsaken
            self._claims += Counter()
            graves = [files.move_to_grave(self.path(diff_id), self._temporary) for diff_id in forsaken]
        for grave in graves:
            files.remove_tree(grave)


class Unpacker:
    """One layer on its way into a staging; used by one thread at a time. Everything blocks."""

    def __init__(self, staging: Staging, folder: str, process: UnpackProcess) -> None:
        self._staging = staging
        self._folder = folder
        self._process = process
        self._finished = False

    def write(self, data: bytes) -> None:
        """The next bytes of the tar, compressed or not. Raises PeerMisbehaved (bad tar) or HostFailed (disk full)."""
        self._process.write(data)

    def finish(self) -> DiffId:
        """The stream is complete and its own digest was right: the layer belongs to the staging from here on."""
        diff_id, size = self._process.finish()
        self._finished = True
        self._staging._take(diff_id, size, self._folder)
        return diff_id

    def abort(self) -> None:
        """Drop it; fine after an error and after `finish` (then nothing happens)."""
        if not self._finished:
            self._process.abort()
            files.remove_tree(self._folder)


class Staging:
    """Layers for one image. Order: unpackers; `publish`; in the transaction `record`; after it `recorded`; `close`.

    `close` alone undoes everything. It is idempotent, and blocks while it removes trees.
    """

    def __init__(self, store: LayerStore) -> None:
        self._store = store
        self._lock = Lock()
        self._folders: dict[DiffId, str] = {}
        self._sizes: dict[DiffId, int] = {}
        self._claimed: list[DiffId] = []
        self._surplus: list[str] = []

    def unpacker(self) -> Unpacker:
        """Start to unpack one more layer; several may run at the same time."""
        try:
            folder, process = self._store._open()
        except OSError as error:
            raise HostFailed(f"can't start to unpack a layer: {(error.strerror or str(error)).lower()}") from error
        return Unpacker(self, folder, process)

    def reuse(self, diff_id: DiffId) -> bool:
        """If the store has the layer: keep it from being removed while the staging lives."""
        known = self._store._claim(diff_id, only_known=True)
        if known:
            self._claimed.append(diff_id)
        return known

    def publish(self) -> None:
        """Put all layers in their places and everything on the disk. Blocks as long as the disk needs."""
        for diff_id, folder in list(self._folders.items()):
            if self._store._settle(diff_id, folder):
                del self._folders[diff_id]
        files.sync_filesystem(self._store.folder)

    def record(self) -> None:
        """Within the caller's transaction, after `publish`."""
        for diff_id, size in self._sizes.items():
            self._store._record(diff_id, size)

    def recorded(self) -> None:
        """The transaction was committed."""
        self._store._recorded(self._sizes)

    def close(self) -> None:
        with self._lock:
            folders = [*self._folders.values(), *self._surplus]
            claimed, self._claimed = self._claimed, []
            self._folders, self._surplus = {}, []
        self._store._release(claimed)
        for folder in folders:
            files.remove_tree(folder)

    def _take(self, diff_id: DiffId, size: int, folder: str) -> None:
        self._store._claim(diff_id)
        with self._lock:
            self._claimed.append(diff_id)
            self._sizes[diff_id] = size
            if diff_id in self._folders:
                self._surplus.append(folder)
            else:
                self._folders[diff_id] = folder
