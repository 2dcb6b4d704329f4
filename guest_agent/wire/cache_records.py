"""The build cache as its users see it: one record a layer and one a cache mount; what a prune may take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
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

    def fields(self) -> Mapping[str, str]:
        """Those that it has, by the names of docker's and BuildKit's filters. A flag that is set is there, as ""."""
        texts = {
            "id": self.id,
            "parent": self.parent,
            "parents": self.parent,
            "type": self.kind.value,
            "description": self.description,
        }
        mutable = self.kind is RecordType.CACHE_MOUNT
        flags = {
            "inuse": self.in_use,
            "mutable": mutable,
            "immutable": not mutable,
            "shared": self.shared,
            "private": not self.shared,
        }
        there = {name: text for name, text in texts.items() if text}
        return {**there, **{name: "" for name, is_set in flags.items() if is_set}}


class Operator(StrEnum):
    """Those of containerd's filters, which BuildKit uses, and ABSENT."""

    PRESENT = ""
    ABSENT = "!"
    EQUAL = "=="
    UNEQUAL = "!="
    SEARCH = "~="


@dataclass(frozen=True, slots=True)
class Condition:
    """What a filter wants of one field. No record has a field of an unknown name."""

    field: str
    operator: Operator = Operator.PRESENT
    value: str = ""

    def holds(self, record: CacheRecord) -> bool:
        """Where the field isn't there its value is "" for UNEQUAL and SEARCH, as for containerd's filters."""
        found = record.fields().get(self.field)
        match self.operator:
            case Operator.PRESENT:
                return found is not None
            case Operator.ABSENT:
                return found is None
            case Operator.EQUAL:
                return found == self.value
            case Operator.UNEQUAL:
                return (found or "") != self.value
            case Operator.SEARCH:
                return re.search(self.value, found or "") is not None


@dataclass(frozen=True, slots=True)
class PruneRequest:
    """What may go: nothing that is in use, and nothing that is shared unless `everything` may."""

    everything: bool = False
    keep_bytes: int = 0  #: 0 = keep none
    unused_since_ns: int | None = None
    conditions: tuple[Condition, ...] = ()  #: all of which must hold

    @property
    def is_total(self) -> bool:
        """Whether the cache is to be as if nothing had ever been built."""
        return self == PruneRequest(everything=True)


def parse_search(field: str, pattern: str) -> Condition:
    """For a regular expression. Raises InvalidArgument."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise InvalidArgument(f"invalid filter '{field}={pattern}': {error}") from None
    return Condition(field, Operator.SEARCH, pattern)
