"""The build cache: what each step came to, by its key. It keeps the layers that it knows from being removed.

Records: kind "build", key the step's: {"created", "diff_id", "used"}; kind "build-source", key a hash of (layers,
sources): the digest of the files that a COPY --from takes, so that an image needn't be mounted to know that.
Main thread only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from typing import Protocol

from guest_agent.build.snapshots import StepResult
from guest_agent.store.records import Records
from guest_agent.wire.models import DiffId

_STEP = "build"
_SOURCE = "build-source"
#: Steps that are kept: some hundred builds of ten steps. The oldest go first.
_MOST_STEPS = 2000
#: Digests of sources, likewise. What is forgotten is computed again.
_MOST_SOURCES = 2000


class LayerHolder(Protocol):
    """What the cache asks of the layer store."""

    def hold(self, diff_id: DiffId) -> bool:
        """Keep a layer from being removed; False where there is none."""

    def let_go(self, diff_ids: Collection[DiffId]) -> None: ...


class BuildCache:
    def __init__(self, records: Records, layers: LayerHolder) -> None:
        """After the layer store's start, before anything removes layers that no image has."""
        self._records = records
        self._layers = layers
        self._steps: dict[str, StepResult] = {}
        self._used: dict[str, int] = {}
        self._sources = dict(records.items(_SOURCE))
        for key, value in list(records.items(_STEP)):
            plain = json.loads(value)
            self._load(key, StepResult(str(plain["created"]), str(plain["diff_id"])), int(plain["used"]))

    def find(self, key: str) -> StepResult | None:
        found = self._steps.get(key)
        if found is not None:
            self._used[key] = time.time_ns()
        return found

    def source_digest(self, key: str) -> str:
        """ "" where it isn't known."""
        return self._sources.get(key, "")

    def remember(self, steps: Mapping[str, StepResult], sources: Mapping[str, str]) -> None:
        """Within or outside of a transaction; the layers of `steps` are recorded."""
        now = time.time_ns()
        with self._records.transaction(durable=False):
            for key, result in steps.items():
                self._records.put(_STEP, key, _encode(result, now))
            for key, digest in sources.items():
                self._records.put(_SOURCE, key, digest)
        for key, result in steps.items():
            self._forget([key])
            self._load(key, result, now)
        self._sources.update(sources)
        self._drop_sources(list(self._sources)[:-_MOST_SOURCES])
        self._drop(sorted(self._steps, key=lambda key: self._used[key])[:-_MOST_STEPS])

    def clear(self) -> tuple[str, ...]:
        """Forget everything; the keys. The layers are free unless an image has them."""
        keys = tuple(self._steps)
        self._drop(keys)
        self._drop_sources(list(self._sources))
        return keys

    @property
    def layers(self) -> frozenset[DiffId]:
        return frozenset(DiffId(step.diff_id) for step in self._steps.values() if step.diff_id)

    def __len__(self) -> int:
        return len(self._steps)

    def _load(self, key: str, result: StepResult, used: int) -> None:
        if result.diff_id and not self._layers.hold(DiffId(result.diff_id)):
            self._records.delete(_STEP, key)
            return
        self._steps[key] = result
        self._used[key] = used

    def _drop_sources(self, keys: Collection[str]) -> None:
        if not keys:
            return
        with self._records.transaction():
            for key in keys:
                self._records.delete(_SOURCE, key)
                del self._sources[key]

    def _drop(self, keys: Collection[str]) -> None:
        if not keys:
            return
        with self._records.transaction():
            for key in keys:
                self._records.delete(_STEP, key)
        self._forget(keys)

    def _forget(self, keys: Collection[str]) -> None:
        gone = [step for key in keys if (step := self._steps.pop(key, None)) is not None]
        self._layers.let_go([DiffId(step.diff_id) for step in gone if step.diff_id])


def _encode(result: StepResult, used: int) -> str:
    return json.dumps({"created": result.created, "diff_id": result.diff_id, "used": used})
