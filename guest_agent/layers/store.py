"""Unpacked layers on disk, stored once, known by their diff id.

A layer is in the store if and only if it has a record (kind "layer"). The way there: unpacked by a helper process into
the folder for temporary things; when its digest is known, renamed into place; when the image is complete, ONE syncfs
for all of its layers and blobs; then the caller's transaction records layers and image together. Why syncfs: a layer
is ten thousand files, and an fsync each costs minutes; without any, a power cut leaves renamed folders with empty
files, which no digest would ever catch, because only unpacked files are kept. Killed before the record: start-up finds
folders without one and removes them. Killed after it: everything is there.

Beside its folder a layer has its outline (layers.outline), which brings its tar back.

A *staging* is one image's work in progress. It claims the layers that it needs, so that a removal of another image
at the same time doesn't take them away. Stagings share what is in place: a layer that one has unpacked, and nobody has
recorded yet, is there for the others as well.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from guest_agent.layers.helper import Unpacked, UnpackProcess, compare, packed, repacked
from guest_agent.layers.measured import OUTLINE, Measured, opened_outline, remove_unpacked
from guest_agent.store import files
from guest_agent.store.pieces import without_blocking
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


@dataclass(frozen=True, slots=True)
class _Sizes:
    """In bytes: of the files' contents, and of the tar (0 = not known)."""

    content: int
    tar: int


@dataclass(frozen=True, slots=True)
class SetAside:
    """Where a damaged layer lies now: its folder and its outline, "" for what wasn't there."""

    tree: str
    outline: str


class LayerStore:
    """Layers by diff id. `userxattr` and `rootless` are for engines in a user namespace.

    What reads or changes records belongs to the main thread (start, removing, Staging.record); the rest is thread-safe.
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
        self._sizes: dict[DiffId, _Sizes] = {}
        self._claims: Counter[DiffId] = Counter()
        self._unrecorded: dict[DiffId, _Sizes] = {}  # in place, claimed by stagings that still live
        self._leftovers: list[str] = []

    def start(self, set_aside: str = "") -> list[str]:
        """Read the records; compare them with the disk. Returns warnings.

        Folders without a record are removed by `sweep`. After the loss of the database give a folder in `set_aside`:
        they are kept there then.
        """
        for folder in (self._temporary, self.folder):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        os.makedirs(os.path.join(self.folder, _EMPTY), mode=0o755, exist_ok=True)
        self._sizes = {DiffId(key): self._read_sizes(DiffId(key), text) for key, text in self._records.items(_KIND)}
        present = set(os.listdir(self.folder))
        warnings = self._forget_missing(present)
        names = {layer_name(diff_id) for diff_id in self._sizes}
        orphans = present - names - {name + OUTLINE for name in names} - {_EMPTY}
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
        return self._sizes[diff_id].content if diff_id in self._sizes else 0

    def tar_size(self, diff_id: DiffId) -> int:
        """Bytes of the tar that `tar` gives. Blocks where it has to be counted."""
        sizes = self._sizes.get(diff_id)
        return sizes.tar if sizes and sizes.tar else sum(map(len, self.tar(diff_id)))

    def tar(self, diff_id: DiffId) -> Generator[bytes, None, None]:
        """The layer's tar, piece by piece; blocks. Raises DataDamaged, at the end at the latest, if it isn't that."""
        with opened_outline(self._outline(diff_id), diff_id) as outline:
            yield from repacked(self.path(diff_id), outline, diff_id)

    def verify(self, diff_id: DiffId) -> None:
        """Is the tar what its digest says, and the tree what the tar says? Blocks. Raises DataDamaged, HostFailed."""
        for _piece in self.tar(diff_id):
            pass
        skeleton = self._make_folder()
        try:
            with opened_outline(self._outline(diff_id), diff_id) as outline:
                compare(self.path(diff_id), skeleton, outline, diff_id, self._userxattr, self._rootless)
        finally:
            files.remove_tree(skeleton)

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

    def hold(self, diff_id: DiffId) -> bool:
        """Keep a layer from being removed, until `let_go`; False where the store doesn't have it."""
        return self.has(diff_id) and self._claim(diff_id) is not None

    def let_go(self, diff_ids: Collection[DiffId]) -> None:
        """Take back one `hold` of each."""
        self._release(diff_ids)

    @contextmanager
    def removing(self, diff_ids: Collection[DiffId]) -> Iterator[None]:
        """A transaction for the block; with it those go that no staging claims. All are still there where it fails.

        Meanwhile nobody can claim them. Their folders are out of sight then, to be removed by `sweep`, which is slow.
        """
        free = self._take_unclaimed(diff_ids)
        try:
            with self._records.transaction():
                for diff_id in free:
                    self._records.delete(_KIND, diff_id)
                yield
        except BaseException:
            with self._lock:
                self._sizes.update(free)
            raise
        paths = [path for diff_id in free for path in self._places(diff_id)]
        self._leftovers += [files.move_to_grave(path, self._temporary) for path in paths]

    def _take_unclaimed(self, diff_ids: Collection[DiffId]) -> dict[DiffId, _Sizes]:
        with self._lock:
            free = [diff_id for diff_id in diff_ids if diff_id in self._sizes and not self._claims[diff_id]]
            return {diff_id: self._sizes.pop(diff_id) for diff_id in free}

    def set_layer_aside(self, diff_id: DiffId, folder: str) -> SetAside:
        """Keep what is damaged in `folder`; the layer isn't there any more."""
        with self._lock:
            self._records.delete(_KIND, diff_id)
            self._sizes.pop(diff_id, None)
            places = (self.path(diff_id), self._outline(diff_id))
            return SetAside(*(files.set_aside(path, folder) if os.path.lexists(path) else "" for path in places))

    def unpack_again(self, aside: SetAside, diff_id: DiffId, staging: Staging) -> None:
        """Make a layer of the tar that a damaged one gives. Blocks. Raises DataDamaged where that is damaged, too."""
        unpacker = staging.unpacker()
        try:
            with opened_outline(aside.outline, diff_id) as outline:
                for piece in repacked(aside.tree, outline, diff_id):
                    unpacker.write(piece)
            unpacker.finish()
        finally:
            unpacker.abort()

    def strays(self) -> list[str]:
        """Paths of what belongs to no layer, recorded or on its way."""
        with self._lock:
            names = {layer_name(diff_id) for diff_id in (*self._sizes, *self._unrecorded)}
            known = {*names, *(name + OUTLINE for name in names), _EMPTY}
            return [os.path.join(self.folder, name) for name in sorted(set(os.listdir(self.folder)) - known)]

    def diff(self, upper: str, latest: int | None = None) -> AsyncGenerator[bytes, None]:
        """The tar of an overlay's upper folder as an OCI layer. Closing the iterator ends the helper.

        Times after `latest` (seconds) become that: as with SOURCE_DATE_EPOCH, the same content is the same layer.
        """
        return without_blocking(packed(upper, whiteouts=True, userxattr=self._userxattr, latest=latest))

    def measure(self, folder: str) -> Measured:
        """Begin to find out which layer an overlay's upper folder is: ask by `finish` when nobody writes any more."""
        return Measured(folder, os.path.join(self._temporary, files.unique_name("layer-")), self._userxattr)

    def export(self, rootfs: str) -> AsyncGenerator[bytes, None]:
        """The tar of a mounted root. Closing the iterator ends the helper."""
        return without_blocking(packed(rootfs, whiteouts=False, userxattr=self._userxattr))

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

    def _read_sizes(self, diff_id: DiffId, text: str) -> _Sizes:
        """Of a damaged record the files are counted: the layer itself may be whole."""
        try:
            plain = json.loads(text)
            return _Sizes(int(plain["size"]), int(plain.get("tar_size", 0)))
        except (ValueError, LookupError, TypeError, AttributeError):
            return _Sizes(files.tree_size(self.path(diff_id)), 0)

    def _outline(self, diff_id: DiffId) -> str:
        return self.path(diff_id) + OUTLINE

    def _places(self, diff_id: DiffId) -> list[str]:
        """What is on the disk of it."""
        outline = self._outline(diff_id)
        return [self.path(diff_id), *([outline] if os.path.exists(outline) else [])]

    # -- for Staging

    def _open(self) -> tuple[str, UnpackProcess]:
        folder = self._make_folder()
        outline = os.open(folder + OUTLINE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            return folder, UnpackProcess(folder, outline, self._userxattr, self._rootless)
        finally:
            os.close(outline)

    def _make_folder(self) -> str:
        folder = os.path.join(self._temporary, files.unique_name("layer-"))
        os.mkdir(folder, 0o755)
        os.chmod(folder, 0o755)
        return folder

    def _claim(self, diff_id: DiffId) -> _Sizes | None:
        """Keep a layer that is in place from being removed; None if there is none."""
        with self._lock:
            sizes = self._sizes.get(diff_id) or self._unrecorded.get(diff_id)
            if sizes is not None:
                self._claims[diff_id] += 1
            return sizes

    def _settle(self, layer: Unpacked, folder: str) -> bool:
        """Put an unpacked folder in its place, and claim it. False if the layer was there already."""
        diff_id = layer.diff_id
        with self._lock:
            new = diff_id not in self._sizes and diff_id not in self._unrecorded
            if new:
                self._move(layer, folder)
                self._unrecorded[diff_id] = _Sizes(layer.size, layer.tar_size)
            self._claims[diff_id] += 1
            return new

    def _move(self, layer: Unpacked, folder: str) -> None:
        place = self.path(layer.diff_id)
        if os.path.lexists(place):
            raise PeerMisbehaved(f"layer {layer.diff_id} has the same first digits as another one in the store")
        os.rename(folder, place)
        if layer.has_outline:
            os.rename(folder + OUTLINE, place + OUTLINE)
        else:
            os.unlink(folder + OUTLINE)

    def _record(self, diff_id: DiffId, sizes: _Sizes) -> None:
        self._records.put(_KIND, diff_id, json.dumps({"size": sizes.content, "tar_size": sizes.tar}))

    def _recorded(self, sizes: dict[DiffId, _Sizes]) -> None:
        with self._lock:
            self._sizes.update(sizes)
            for diff_id in sizes:
                self._unrecorded.pop(diff_id, None)

    def _release(self, diff_ids: Collection[DiffId]) -> None:
        """Drop claims; a folder that nobody recorded and nobody claims any more goes."""
        with self._lock:
            self._claims.subtract(diff_ids)
            forsaken = {diff_id for diff_id in diff_ids if diff_id in self._unrecorded and not self._claims[diff_id]}
            for diff_id in forsaken:
                del self._unrecorded[diff_id]
            self._claims += Counter()
            places = [path for diff_id in forsaken for path in self._places(diff_id)]
            graves = [files.move_to_grave(path, self._temporary) for path in places]
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
        layer = self._process.finish()
        self._staging._take(layer, self._folder)
        self._finished = True
        return layer.diff_id

    def abort(self) -> None:
        """Drop it; fine after an error and after `finish` (then nothing happens)."""
        if not self._finished:
            self._process.abort()
            remove_unpacked(self._folder)


class Staging:
    """Layers for one image. Order: unpackers; `publish`; in the transaction `record`; after it `recorded`; `close`.

    `close` alone undoes everything. It is idempotent, and blocks while it removes trees.
    """

    def __init__(self, store: LayerStore) -> None:
        self._store = store
        self._lock = Lock()
        self._sizes: dict[DiffId, _Sizes] = {}
        self._claimed: list[DiffId] = []

    def unpacker(self) -> Unpacker:
        """Start to unpack one more layer; several may run at the same time."""
        try:
            folder, process = self._store._open()
        except OSError as error:
            raise HostFailed(f"can't start to unpack a layer: {(error.strerror or str(error)).lower()}") from error
        return Unpacker(self, folder, process)

    def adopt(self, measured: Measured) -> DiffId:
        """An overlay's upper folder that is a layer as it is; what is built next can be stacked on it at once."""
        layer = measured.finish()
        self._take(layer, measured.place)
        return layer.diff_id

    def reuse(self, diff_id: DiffId) -> bool:
        """If the store has the layer: keep it from being removed while the staging lives."""
        sizes = self._store._claim(diff_id)
        if sizes is not None:
            self._add(diff_id, sizes)
        return sizes is not None

    def publish(self) -> None:
        """Put everything on the disk. Blocks as long as the disk needs."""
        files.sync_filesystem(self._store.folder)

    def record(self) -> None:
        """Within the caller's transaction, after `publish`."""
        for diff_id, sizes in self._sizes.items():
            self._store._record(diff_id, sizes)

    def recorded(self) -> None:
        """The transaction was committed."""
        self._store._recorded(self._sizes)

    def close(self) -> None:
        with self._lock:
            claimed, self._claimed = self._claimed, []
        self._store._release(claimed)

    def _take(self, layer: Unpacked, folder: str) -> None:
        is_new = self._store._settle(layer, folder)
        self._add(layer.diff_id, _Sizes(layer.size, layer.tar_size))
        if not is_new:
            remove_unpacked(folder)

    def _add(self, diff_id: DiffId, sizes: _Sizes) -> None:
        with self._lock:
            self._claimed.append(diff_id)
            self._sizes[diff_id] = sizes
