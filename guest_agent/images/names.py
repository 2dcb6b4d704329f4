"""What images are called.

Records: kind "tag", key a canonical reference with tag or digest: the image id; kind "tag-time", key image id: when it
was last given a name by a user.

Changes come in two steps, so that memory never tells of what a full disk refused: `record` and `forget` within the
transaction, `apply` and `forgotten` after it. Belongs to the main thread.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Collection, Sequence

from guest_agent.images.reference import Reference, parse_reference
from guest_agent.store.records import Records
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import Digest, ImageId

_TAG = "tag"
_TAG_TIME = "tag-time"
#: What may be an image's id, or the beginning of one.
ID_PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})")


def in_full(text: str) -> str:
    """What a user's text says, as docker repeats it: a name with its tag; what can be an id only with its algorithm."""
    try:
        return parse_reference(text).with_default_tag().familiar
    except InvalidArgument:
        return f"sha256:{text.removeprefix('sha256:')}"


class Names:
    """Every name, and the image that it stands for."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._names: dict[str, ImageId] = {}
        self._times: dict[ImageId, int] = {}

    def start(self, known: Collection[ImageId]) -> None:
        """Read the records. Names of images that aren't `known` stay there, unused."""
        tags = self._records.items(_TAG)
        self._names = {name: ImageId(image_id) for name, image_id in tags if image_id in known}
        self._times = {ImageId(key): int(value) for key, value in self._records.items(_TAG_TIME)}

    # -- looking

    def find(self, reference: Reference) -> ImageId | None:
        """The image that a reference with tag or digest names."""
        return self._names.get(reference.canonical)

    def meant(self, text: str) -> Reference | None:
        """The name that a user's text means, if there is one. Raises InvalidArgument for what can't be a name."""
        try:
            reference = parse_reference(text).with_default_tag()
        except InvalidArgument:
            if ID_PREFIX.fullmatch(text):
                return None
            raise
        candidates = (reference, reference.digested(Digest(reference.digest))) if reference.digest else (reference,)
        return next((name for name in candidates if name.canonical in self._names), None)

    def of(self, image_id: ImageId) -> list[Reference]:
        """In alphabetical order."""
        return [parse_reference(name) for name in sorted(self._names) if self._names[name] == image_id]

    def by_image(self) -> defaultdict[ImageId, list[Reference]]:
        """All of them, each image's in alphabetical order."""
        names: defaultdict[ImageId, list[Reference]] = defaultdict(list)
        for name in sorted(self._names):
            names[self._names[name]].append(parse_reference(name))
        return names

    def tags_in(self, repository: Reference) -> tuple[Reference, ...]:
        """Every tag that a repository has here."""
        found = (parse_reference(name) for name in sorted(self._names))
        return tuple(name for name in found if name.tag and name.name == repository.name)

    def recorded(self, image_id: ImageId) -> list[Reference]:
        """Those in the records, also of an image that can't be read."""
        return [parse_reference(name) for name, value in self._records.items(_TAG) if value == image_id]

    def tagged_ns(self, image_id: ImageId) -> int:
        """When a user last gave it a name; 0 = never."""
        return self._times.get(image_id, 0)

    # -- changing

    def record(self, names: Sequence[Reference], image_id: ImageId, *, tagged: bool = True) -> None:
        """Within a transaction: give an image names, which are taken from other images if need be.

        Without `tagged` it isn't noted when.
        """
        for name in names:
            self._records.put(_TAG, name.canonical, image_id)
        if tagged and any(name.tag for name in names):
            self._records.put(_TAG_TIME, image_id, str(time.time_ns()))

    def apply(self, names: Sequence[Reference], image_id: ImageId) -> None:
        """After it."""
        self._names.update((name.canonical, image_id) for name in names)
        if text := self._records.get(_TAG_TIME, image_id):
            self._times[image_id] = int(text)

    def remove(self, names: Sequence[Reference]) -> list[ImageId]:
        """Forget names, in a transaction of its own; the images that they stood for."""
        with self._records.transaction():
            for name in names:
                self._records.delete(_TAG, name.canonical)
        return [self._names.pop(name.canonical) for name in names]

    def forget(self, image_id: ImageId) -> None:
        """Within a transaction: whatever is left of an image that goes."""
        for name in self.recorded(image_id):
            self._records.delete(_TAG, name.canonical)
        self._records.delete(_TAG_TIME, image_id)

    def forgotten(self, image_id: ImageId) -> None:
        """After it."""
        self._names = {name: other for name, other in self._names.items() if other != image_id}
        self._times.pop(image_id, None)
