"""Saved states: what one was saved by, and whether it may be resumed. Pure.

A state is the memory of programs in the middle of their work. Resumed by anything but the QEMU, the hardware, the
guest's code and the disk that it was saved with, it corrupts what it touches. So any doubt means a cold boot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True, slots=True)
class Identity:
    """What a running guest was made from. Equal identities can resume each other's states."""

    qemu: str
    image: str
    code: str
    hardware: str
    accelerator: str


@dataclass(frozen=True, slots=True)
class DiskMark:
    """A data disk at one moment; it changes whenever anybody writes."""

    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class SavedState:
    """state.json. `boot` is the host's boot in which it was saved; `disk` is None for a template."""

    id: str
    identity: Identity
    boot: str
    disk: DiskMark | None = None

    def to_json(self) -> dict[str, object]:
        return asdict(self)


#: In the order in which they are said.
_REASONS = {
    "qemu": "it was saved by another QEMU",
    "accelerator": "it was saved with another accelerator",
    "hardware": "the machine's settings have changed since",
    "image": "it was saved with another guest image",
    "code": "it was saved by another version of hostvm",
}


def why_not_resume(saved: SavedState, now: Identity, disk: DiskMark | None, boot: str, durable: str) -> str:
    """ "" when the state may be resumed, else the reason, as the rest of a sentence.

    `durable` is the id of the state that is known to be on the disk with all of its memory: without that, it only
    survives as long as the host does.
    """
    for name, reason in _REASONS.items():
        if getattr(saved.identity, name) != getattr(now, name):
            return reason
    if saved.disk != disk:
        return "the data disk was changed since"
    if saved.boot != boot and durable != saved.id:
        return "the host went down before all of it was on the disk"
    return ""


def parse_saved_state(document: Mapping[str, object]) -> SavedState:
    """Raises ValueError for anything but what `to_json` wrote."""
    identity, disk = document.get("identity"), document.get("disk")
    if set(document) != {"id", "identity", "boot", "disk"} or not isinstance(identity, dict):
        raise ValueError("no record of a saved state")
    return SavedState(
        id=_text(document["id"]),
        identity=parse_identity(identity),
        boot=_text(document["boot"]),
        disk=None if disk is None else _parse_mark(disk),
    )


def parse_identity(document: Mapping[str, object]) -> Identity:
    """Raises ValueError."""
    names = {field.name for field in fields(Identity)}
    if set(document) != names:
        raise ValueError("no identity of a machine")
    return Identity(**{name: _text(document[name]) for name in names})


def _parse_mark(value: object) -> DiskMark:
    if not isinstance(value, dict) or not all(type(value.get(key)) is int for key in ("size", "mtime_ns")):
        raise ValueError("no mark of a disk")
    return DiskMark(value["size"], value["mtime_ns"])


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value
