"""The build cache: what each step came to, by its key. It keeps the layers that it knows from being removed.

Records: kind "build", key the step's: {"created", "diff_id", "used", "uses", "description", "parent"}, of which older
engines wrote the first three; kind "build-source", key a hash of (layers, sources): the digest of the files that a
COPY --from takes, so that an image needn't be mounted to know that, or a COPY of a context that needn't be sent.
Main thread only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from guest_agent.build.snapshots import StepResult
from guest_agent.store.reading import read_all
from guest_agent.store.records import Records
from guest_agent.wire.cache_records import CacheRecord, RecordType
from guest_agent.wire.models import DiffId

_STEP = "build"
_SOURCE = "build-source"
#: Steps that are kept: some hundred builds of ten steps. The oldest go first.
_MOST_STEPS = 2000
#: Digests of sources, likewise. What is forgotten is computed again.
_MOST_SOURCES = 2000
#: Letters of a key that name a step for users; as many as the folders of cache mounts have.
_SHOWN = 32


class LayerHolder(Protocol):
    """What the cache asks of the layer store."""

    def hold(self, diff_id: DiffId) -> bool:
        """Keep a layer from being removed; False where there is none."""

    def let_go(self, diff_ids: Collection[DiffId]) -> None: ...
    def size(self, diff_id: DiffId) -> int:
        """Bytes."""


@dataclass(frozen=True, slots=True)
class _Use:
    """When a build had a step last, and how many had it."""

    last_ns: int
    count: int


class BuildCache:
    def __init__(self, records: Records, layers: LayerHolder) -> None:
        """After the layer store's start, before anything removes layers that no image has."""
        self._records = records
        self._layers = layers
        self._steps: dict[str, StepResult] = {}
        self._uses: dict[str, _Use] = {}
        self._sources = dict(records.items(_SOURCE))
        steps, self.warnings = read_all(records, _STEP, _decode)
        for key, step in steps.items():
            self._load(key, *step)

    def find(self, key: str) -> StepResult | None:
        return self._steps.get(key)

    def source_digest(self, key: str) -> str:
        """ "" where it isn't known."""
        return self._sources.get(key, "")

    def remember(self, steps: Mapping[str, StepResult], sources: Mapping[str, str]) -> None:
        """All that one build had, whether it is known or not. The layers of `steps` are recorded.

        Within or outside of a transaction.
        """
        now = time.time_ns()
        uses = {key: _Use(now, self._times(key, step) + 1) for key, step in steps.items()}
        digests = {key: digest for key, digest in sources.items() if self._sources.get(key) != digest}
        with self._records.transaction(durable=False):
            for key, result in steps.items():
                self._records.put(_STEP, key, _encode(result, uses[key]))
            for key, digest in digests.items():
                self._records.put(_SOURCE, key, digest)
        for key, result in steps.items():
            self._replace(key, result, uses[key])
        self._sources.update(digests)
        self._drop_sources(list(self._sources)[:-_MOST_SOURCES])
        self._drop(sorted(self._steps, key=lambda key: self._uses[key].last_ns)[:-_MOST_STEPS])

    def listed(self, in_images: Collection[DiffId], in_use: Collection[str]) -> tuple[CacheRecord, ...]:
        """Its steps that made a layer, the most recently used first. `in_use` are keys.

        Of two that came to the same layer the first has its size: the layer is there once, and goes with the last.
        """
        described: list[CacheRecord] = []
        counted: set[str] = set()
        for key in sorted(self._steps, key=lambda key: self._uses[key].last_ns, reverse=True):
            layer = DiffId(self._steps[key].diff_id)
            if layer:
                size = 0 if layer in counted else self._layers.size(layer)
                counted.add(layer)
                described.append(self._describe(key, size, key in in_use, layer in in_images))
        return tuple(described)

    def drop(self, identities: Collection[str]) -> frozenset[DiffId]:
        """Forget these records; the layers that they had. Those are free unless an image or another step has them."""
        wanted = frozenset(identities)
        keys = [key for key in self._steps if key[:_SHOWN] in wanted]
        layers = frozenset(DiffId(self._steps[key].diff_id) for key in keys)
        self._drop(keys)
        return layers

    def drop_small(self) -> None:
        """Forget what takes no space and isn't listed: steps without a layer, digests of sources."""
        self._drop([key for key, step in self._steps.items() if not step.diff_id])
        self._drop_sources(list(self._sources))

    def __len__(self) -> int:
        return len(self._steps)

    def _describe(self, key: str, size: int, in_use: bool, shared: bool) -> CacheRecord:
        step, use = self._steps[key], self._uses[key]
        return CacheRecord(
            id=key[:_SHOWN],
            kind=RecordType.REGULAR,
            size=size,
            created=step.created,
            used_ns=use.last_ns,
            uses=use.count,
            description=step.description,
            parent=step.parent[:_SHOWN] if step.parent in self._steps else "",
            in_use=in_use,
            shared=shared,
        )

    def _times(self, key: str, step: StepResult) -> int:
        """How many builds had this very result."""
        known = self._steps.get(key)
        return self._uses[key].count if known is not None and known.diff_id == step.diff_id else 0

    def _replace(self, key: str, result: StepResult, use: _Use) -> None:
        if self._steps.get(key) == result:
            self._uses[key] = use
            return
        self._forget([key])
        self._load(key, result, use)

    def _load(self, key: str, result: StepResult, use: _Use) -> None:
        if result.diff_id and not self._layers.hold(DiffId(result.diff_id)):
            self._records.delete(_STEP, key)
            return
        self._steps[key] = result
        self._uses[key] = use

    def _drop_sources(self, keys: Collection[str]) -> None:
        """Nobody waits for the disk: should one come back after a crash, it still says what is so."""
        if not keys:
            return
        with self._records.transaction(durable=False):
            for key in keys:
                self._records.delete(_SOURCE, key)
        for key in keys:
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


def _encode(result: StepResult, use: _Use) -> str:
    return json.dumps(
        {
            "created": result.created,
            "diff_id": result.diff_id,
            "used": use.last_ns,
            "uses": use.count,
            "description": result.description,
            "parent": result.parent,
        }
    )


def _decode(text: str) -> tuple[StepResult, _Use]:
    plain = json.loads(text)
    description, parent = str(plain.get("description", "")), str(plain.get("parent", ""))
    result = StepResult(str(plain["created"]), str(plain["diff_id"]), description, parent)
    return result, _Use(int(plain["used"]), int(plain.get("uses", 0)))
