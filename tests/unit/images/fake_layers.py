"""Layers in memory: what ImageStore asks of the layer store, without files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager

from guest_agent.store.records import Records
from guest_agent.wire.models import DiffId


class FakeUnpacker:
    def __init__(self, staging: FakeStaging) -> None:
        self._staging = staging
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._hash.update(data)

    def finish(self) -> DiffId:
        diff_id = DiffId(f"sha256:{self._hash.hexdigest()}")
        self._staging.taken.add(diff_id)
        return diff_id

    def abort(self) -> None:
        """Nothing to undo."""


class FakeStaging:
    def __init__(self, layers: FakeLayers) -> None:
        self._layers = layers
        self.taken: set[DiffId] = set()

    def unpacker(self) -> FakeUnpacker:
        return FakeUnpacker(self)

    def reuse(self, diff_id: DiffId) -> bool:
        return self._layers.has(diff_id)

    def publish(self) -> None:
        self._layers.on_publish()

    def record(self) -> None:
        """No records."""

    def recorded(self) -> None:
        self._layers.present |= self.taken

    def close(self) -> None:
        self.taken = set()


class FakeLayers:
    def __init__(self, records: Records) -> None:
        self._records = records
        self.present: set[DiffId] = set()
        self.on_publish: Callable[[], None] = lambda: None  #: there is nothing to sync

    def has(self, diff_id: DiffId) -> bool:
        return diff_id in self.present

    def known(self) -> tuple[DiffId, ...]:
        return tuple(self.present)

    def size(self, diff_id: DiffId) -> int:
        return 100 if diff_id in self.present else 0

    def tar_size(self, diff_id: DiffId) -> int:
        return sum(map(len, self.tar(diff_id)))

    def tar(self, diff_id: DiffId) -> Generator[bytes, None, None]:
        yield b"tar of "
        yield diff_id.encode()

    def stage(self) -> FakeStaging:
        return FakeStaging(self)

    @contextmanager
    def removing(self, diff_ids: Collection[DiffId]) -> Iterator[None]:
        with self._records.transaction():
            yield
        self.present -= set(diff_ids)

    def sweep(self) -> None:
        """No files."""
