"""Under which digests registries know the layers that are here: records of kind "blob", key diff id.

A layer that was pulled from, or pushed to, a registry needn't be packed and sent again: the blob is there, or in
another repository from which it can be mounted. (docker keeps the same as its "distribution metadata".)
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from guest_agent.store.records import Records
from guest_agent.wire.models import DiffId, Digest

_KIND = "blob"
#: docker's maxMetadataEntries for one layer is 50.
_MOST = 50


@dataclass(frozen=True, slots=True)
class KnownBlob:
    """A layer as a registry has it. `repository` is canonical, without tag: "docker.io/library/busybox"."""

    digest: Digest
    size: int
    media_type: str
    repository: str


class Provenance:
    """What is known of layers' blobs. Belongs to the main thread."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def blobs(self, diff_id: DiffId) -> tuple[KnownBlob, ...]:
        """The latest first."""
        text = self._records.get(_KIND, diff_id)
        try:
            return tuple(KnownBlob(**plain) for plain in json.loads(text)) if text else ()
        except (ValueError, TypeError):
            return ()  # damaged: it saves an upload, nothing more

    def add(self, diff_id: DiffId, blob: KnownBlob) -> None:
        known = [blob, *(other for other in self.blobs(diff_id) if other != blob)][:_MOST]
        self._records.put(_KIND, diff_id, json.dumps([asdict(one) for one in known]))

    def retain(self, diff_ids: Iterable[DiffId]) -> None:
        """Forget all other layers."""
        wanted = set(diff_ids)
        for key, _value in list(self._records.items(_KIND)):
            if key not in wanted:
                self._records.delete(_KIND, key)
