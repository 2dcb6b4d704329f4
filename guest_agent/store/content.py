"""Blobs by digest: manifests and image configurations, small enough to be held in memory.

A blob is `<root>/sha256/<hex>`, written beside itself and renamed, so that it is whole or absent.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator

from guest_agent.store.files import atomic_write
from guest_agent.wire.errors import DataDamaged, InvalidArgument, NotFound
from guest_agent.wire.models import Digest

_PREFIX = "sha256:"
_HEX_DIGITS = frozenset("0123456789abcdef")


def parse_digest(text: str) -> Digest:
    """The digest, or InvalidArgument. Only sha256 is in use (image-spec descriptor.md makes it the one MUST)."""
    encoded = text.removeprefix(_PREFIX)
    if not text.startswith(_PREFIX) or len(encoded) != 64 or not _HEX_DIGITS.issuperset(encoded):
        raise InvalidArgument(f"invalid checksum digest format: {text[:100]!r}")
    return Digest(text)


def digest_of(data: bytes) -> Digest:
    return Digest(_PREFIX + hashlib.sha256(data).hexdigest())


class ContentStore:
    """Blobs under one folder. Thread-safe: every step is one rename or unlink."""

    def __init__(self, root: str) -> None:
        self._folder = os.path.join(root, "sha256")
        os.makedirs(self._folder, mode=0o700, exist_ok=True)

    def put(self, data: bytes, durable: bool = False) -> Digest:
        """Store a blob, in the place of one that the disk damaged, and return its digest.

        Not durable by default: who records a reference to it syncs the file system first (see layers.store).
        """
        digest = digest_of(data)
        if not self._is_whole(digest):
            atomic_write(self.path(digest), data, durable=durable)
        return digest

    def get(self, digest: Digest) -> bytes:
        """The blob, verified. Raises NotFound, or DataDamaged where the disk returned something else."""
        try:
            with open(self.path(digest), "rb") as file:
                data = file.read()
        except FileNotFoundError as error:
            raise NotFound(f"content {digest} isn't in the store") from error
        if digest_of(data) != digest:
            raise DataDamaged(f"content {digest} is damaged on disk", "remove the image and pull it again")
        return data

    def _is_whole(self, digest: Digest) -> bool:
        try:
            self.get(digest)
        except (NotFound, DataDamaged):
            return False
        return True

    def delete(self, digest: Digest) -> None:
        """Remove a blob; a missing one is fine."""
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            pass

    def digests(self) -> Iterator[Digest]:
        """All blobs, in no order."""
        for name in os.listdir(self._folder):
            if not name.startswith("."):
                yield Digest(_PREFIX + name)

    def retain(self, wanted: Iterable[Digest]) -> None:
        """Remove every other blob, and what a killed `put` left."""
        names = {digest.removeprefix(_PREFIX) for digest in wanted}
        for name in os.listdir(self._folder):
            if name not in names:
                os.unlink(os.path.join(self._folder, name))

    def path(self, digest: Digest) -> str:
        """Where the blob is, or would be."""
        return os.path.join(self._folder, parse_digest(digest).removeprefix(_PREFIX))
