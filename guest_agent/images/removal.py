"""When an image may go, in docker's rules and words (moby daemon/images/image_delete.go). Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from guest_agent.images.reference import Reference
from guest_agent.wire.errors import Conflict
from guest_agent.wire.models import DiffId, Digest, ImageId

#: Image id -> the containers that use it: (short id, is it running?).
Users = Mapping[ImageId, Sequence[tuple[str, bool]]]


def is_single(names: Sequence[Reference]) -> bool:
    """At most one tag, and every digest is of the same repository."""
    return sum(bool(name.tag) for name in names) <= 1 and len({name.name for name in names}) <= 1


def check_untaggable(
    image_id: ImageId, text: str, names: Sequence[Reference], users: Sequence[tuple[str, bool]]
) -> None:
    """Raise docker's Conflict if the last name of an image in use would go, and nobody forces it."""
    if users and is_single(names):
        raise Conflict(
            f'conflict: unable to remove repository reference "{text}" (must force) - '
            f"container {users[0][0]} is using its referenced image {short(image_id)}"
        )


def check_deletable(
    image_id: ImageId,
    names: Sequence[Reference],
    force: bool,
    users: Sequence[tuple[str, bool]],
    has_children: bool = False,
) -> None:
    """Raise docker's Conflict if an image, given by id, may not go."""
    if has_children:
        raise _undeletable(image_id, "cannot be forced", "image has dependent child images")
    running = [container for container, is_running in users if is_running]
    if running:
        raise _undeletable(image_id, "cannot be forced", f"image is being used by running container {running[0]}")
    if force:
        return
    if not is_single(names):
        raise _undeletable(image_id, "must be forced", "image is referenced in multiple repositories")
    if users:
        raise _undeletable(image_id, "must be forced", f"image is being used by stopped container {users[0][0]}")


def _undeletable(image_id: ImageId, remedy: str, cause: str) -> Conflict:
    return Conflict(f"conflict: unable to delete {short(image_id)} ({remedy}) - {cause}")


def short(image_id: ImageId) -> str:
    return image_id.removeprefix("sha256:")[:12]


def chain_ids(diff_ids: Sequence[DiffId]) -> tuple[Digest, ...]:
    """What docker calls each layer together with those below it (OCI image-spec config.md, "Layer ChainID")."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        joined = f"{chain[-1]} {diff_id}" if chain else ""
        chain.append(Digest(f"sha256:{hashlib.sha256(joined.encode()).hexdigest()}" if joined else diff_id))
    return tuple(chain)
