"""What a stage has become after a step: layers, history, configuration, and the key that the cache knows it by. Pure.

A key is the hash of the key before and of everything that the step follows from. Two builds that come to the same key
have the same files: that is what makes the cache exact.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from guest_agent.build.state import StageState
from guest_agent.wire.models import DiffId, HistoryEntry


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step made; `diff_id` "" = no layer. This is what the cache stores."""

    created: str  #: RFC 3339
    diff_id: str = ""
    description: str = ""  #: as the history has it
    parent: str = ""  #: key of the step that made the layer below, "" = that is the base's


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A stage between two steps. `base_layers` counts those of the image that it begins with."""

    key: str
    state: StageState
    diff_ids: tuple[DiffId, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    created: str = ""
    parent: str = ""  #: id of the image that the stage begins with
    base_layers: int = 0
    made_by: str = ""  #: key of the step that made the topmost layer, "" = none did
    words: tuple[str, ...] = ()  #: of the last step, as the history has them

    def next_key(self, identity: str) -> str:
        text = f"{self.key}\n{identity}"
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    def after(self, key: str, words: tuple[str, ...], result: StepResult) -> Snapshot:
        """The snapshot with one more step, which was looked for by `key`.

        The new key has the layer, too: what is built on this very layer is never taken for another one.
        """
        entry = HistoryEntry(result.created, " ".join(words), empty_layer=not result.diff_id)
        layers = (*self.diff_ids, DiffId(result.diff_id)) if result.diff_id else self.diff_ids
        own = hashlib.sha256(f"{key}\n{result.diff_id}".encode()).hexdigest()
        made_by = key if result.diff_id else self.made_by
        history = (*self.history, entry)
        made = replace(self, key=own, diff_ids=layers, history=history, created=result.created, made_by=made_by)
        return replace(made, words=words)
