"""The build cache as its users see it: one record a layer and one a cache mount; what a prune may take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from guest_agent.wire.errors import InvalidArgument


class RecordType(StrEnum):
    """As docker names them."""

    REGULAR = "regular"
    CACHE_MOUNT = "exec.cachemount"


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """`size` in bytes; `shared`: an image has the layer as well, so that removing the record frees nothing."""

    id: str
    kind: RecordType
    size: int
    created: str  #: RFC 3339, "" where nobody knows
    used_ns: int
    uses: int = 0
    description: str = ""
    parent: str = ""  #: id of the record that this one was made from, "" = none in the cache
    in_use: bool = False
    shared: bool = False

    def fields(self) -> dict[str, str | bool]:
        """By the names that docker's filters have; `id` is none of these."""
        return {
            "parent": self.parent,
            "type": self.kind.value,
            "description": self.description,
            "inuse": self.in_use,
            "shared": self.shared,
            "private": not self.shared,
        }


@dataclass(frozen=True, slots=True)
class PruneRequest:
    """What may go: nothing that is in use, and nothing that is shared unless `everything` may."""

    everything: bool = False
    keep_bytes: int = 0  #: 0 = keep none
    unused_since_ns: int | None = None
    id: re.Pattern[str] | None = None
    fields: Mapping[str, str | bool] = field(default_factory=dict)

    @property
    def is_total(self) -> bool:
        """Whether the cache is to be as if nothing had ever been built."""
        return self == PruneRequest(everything=True)


def parse_id_pattern(text: str) -> re.Pattern[str]:
    """docker searches ids for a regular expression. Raises InvalidArgument."""
    try:
        return re.compile(text)
    except re.error as error:
        raise InvalidArgument(f"invalid filter 'id={text}': {error}") from None
