"""What is known of each image: a record, and the documents in the content store that belong to it.

Records: kind "image", key image id: {"manifest_digest", "parent", "blobs", "attached", "hidden"}. `blobs` are the
configuration and the manifest; `attached` are documents beside it (an SBOM), by their media type. An image that was
removed by force while a stopped container needs it is *hidden*: no name, in no list.

An image whose record, configuration or layers can't be read is *unreadable*: its record stays, and nobody knows which
layers and blobs are its own. As long as there is one (not `complete`), none is taken as unused.

Changes come in two steps, as in `images.names`: `record` and `forget` within the transaction, `apply` and `forgotten`
after it. Belongs to the main thread, except for what says otherwise.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from guest_agent.images.configs import parse_config
from guest_agent.images.contracts import ImageLayers
from guest_agent.store.content import ContentStore, digest_of, parse_digest
from guest_agent.store.records import Records
from guest_agent.wire.errors import DataDamaged, HostvmError, InvalidArgument, NotFound
from guest_agent.wire.models import DiffId, Digest, ImageConfig, ImageId

_KIND = "image"


@dataclass(frozen=True, slots=True)
class Stored:
    """One image. `parent` is an image id or ""."""

    config: ImageConfig
    manifest_digest: str
    parent: str
    blobs: tuple[Digest, ...]
    hidden: bool = False
    attached: Mapping[str, Digest] = field(default_factory=dict)

    @property
    def contents(self) -> tuple[Digest, ...]:
        """Everything that it has in the content store."""
        return (*self.blobs, *self.attached.values())


class ImageRecords:
    """Every image that can be read, hidden ones too."""

    def __init__(self, records: Records, content: ContentStore, layers: ImageLayers) -> None:
        self._records = records
        self._content = content
        self._layers = layers
        self._images: dict[ImageId, Stored] = {}
        self._unreadable: dict[ImageId, str] = {}
        #: Blobs of images that are being added: written, or found, before the record that refers to them.
        self._arriving: Counter[Digest] = Counter()

    def start(self) -> list[str]:
        """Read the records; remove blobs that a crash left. Returns a warning for each unreadable image."""
        for key, value in self._records.items(_KIND):
            try:
                self._images[ImageId(key)] = self._read(ImageId(key), value)
            except HostvmError as error:
                self._unreadable[ImageId(key)] = error.message
        if self.complete:
            self._content.retain(self._used_blobs())
        return [f"image {key} can't be used: {problem}" for key, problem in self._unreadable.items()]

    # -- looking

    @property
    def complete(self) -> bool:
        """Whether every image can be read, so that what none of them has is unused."""
        return not self._unreadable

    def get(self, image_id: ImageId) -> Stored:
        """Raises NotFound."""
        if image_id not in self._images:
            raise no_such_image(image_id)
        return self._images[image_id]

    def find(self, image_id: ImageId) -> Stored | None:
        return self._images.get(image_id)

    def all(self) -> Mapping[ImageId, Stored]:
        """As it is at this moment."""
        return dict(self._images)

    def listed(self) -> Iterator[tuple[ImageId, Stored]]:
        """Those that aren't hidden."""
        return ((image_id, stored) for image_id, stored in self._images.items() if not stored.hidden)

    def used_layers(self, leaving: ImageId | None = None) -> set[DiffId] | None:
        """Those of every image but `leaving`; None where another one can't be read: any layer may be its."""
        if self._unreadable.keys() - {leaving}:
            return None
        staying = [stored for image_id, stored in self._images.items() if image_id != leaving]
        return {diff_id for stored in staying for diff_id in stored.config.diff_ids}

    def reread(self, image_id: ImageId) -> None:
        """Take an image that has been mended into use again. Raises HostvmError if it still can't be read."""
        value = self._records.get(_KIND, image_id)
        if value is None:
            raise no_such_image(image_id)
        self.apply(self._read(image_id, value))

    # -- changing

    def record(self, stored: Stored) -> None:
        """Within a transaction."""
        self._records.put(_KIND, stored.config.id, _encode(stored))

    def apply(self, stored: Stored) -> None:
        """After it. What was unreadable isn't any more."""
        self._images[stored.config.id] = stored
        self._unreadable.pop(stored.config.id, None)

    def put(self, stored: Stored) -> None:
        """Both, in a transaction of its own."""
        self.record(stored)
        self.apply(stored)

    def forget(self, image_id: ImageId) -> None:
        """Within a transaction; also one that can't be read. Its blobs stay until their `release`."""
        self._records.delete(_KIND, image_id)

    def forgotten(self, image_id: ImageId) -> None:
        """After it."""
        self._images.pop(image_id, None)
        self._unreadable.pop(image_id, None)

    # -- blobs

    @contextmanager
    def holding(self, blobs: tuple[Digest, ...]) -> Iterator[tuple[Digest, ...]]:
        """They are no strays for the time, recorded or not, and stay where an image that has them is removed."""
        self._arriving.update(blobs)
        try:
            yield blobs
        finally:
            self._arriving.subtract(blobs)
            self._arriving += Counter()  # drops those that nobody holds any more

    def release(self, blobs: Sequence[Digest]) -> None:
        """Remove those that no image has any more."""
        if self.complete:
            used = self._used_blobs()
            for blob in blobs:
                if blob not in used:
                    self._content.delete(blob)

    def strays(self) -> list[str]:
        """Paths of blobs that no image has, recorded or on its way.

        None where some image can't be read: they may be its.
        """
        if not self.complete:
            return []
        used = self._used_blobs()
        return [self._content.path(blob) for blob in self._content.digests() if blob not in used]

    def damaged(self) -> list[tuple[ImageId, str]]:
        """Images whose configuration or manifest isn't what it was, and unreadable ones. Any thread."""
        found = {
            image_id: problem
            for image_id, stored in list(self._images.items())
            for blob in stored.blobs
            if (problem := self._find_problem(blob))
        }
        return list({**self._unreadable, **found}.items())

    # -- documents beside an image

    async def attach(self, image_id: ImageId, media_type: str, document: bytes) -> None:
        """Keep a document beside an image, in the place of one of the same type; `push` takes it along.

        Waits for the disk; then it is durable. Raises NotFound.
        """
        with self.holding((digest_of(document),)) as (digest,):
            await asyncio.to_thread(self._content.put, document, True)
            before = self.get(image_id)
            self._replace(before, replace(before, attached={**before.attached, media_type: digest}))

    def detach(self, image_id: ImageId, media_type: str) -> None:
        """Forget a document; where the image has gone there is none."""
        if before := self.find(image_id):
            left = {kind: digest for kind, digest in before.attached.items() if kind != media_type}
            self._replace(before, replace(before, attached=left))

    def attachments(self, image_id: ImageId) -> tuple[tuple[str, Digest], ...]:
        """Their media types and digests. Raises NotFound."""
        return tuple(self.get(image_id).attached.items())

    def attachment(self, digest: Digest) -> bytes:
        """One of them. Any thread. Raises NotFound where it has gone with its image, DataDamaged."""
        return self._content.get(digest)

    def damaged_attachments(self) -> list[tuple[ImageId, str, str]]:
        """Documents that aren't what they were: image, media type, what is wrong. Any thread."""
        return [
            (image_id, kind, problem)
            for image_id, stored in list(self._images.items())
            for kind, digest in stored.attached.items()
            if (problem := self._find_problem(digest))
        ]

    def _replace(self, before: Stored, after: Stored) -> None:
        self.put(after)
        self.release(before.contents)

    def _find_problem(self, blob: Digest) -> str | None:
        try:
            self._content.get(blob)
        except HostvmError as error:
            return error.message
        return None

    def _used_blobs(self) -> set[Digest]:
        return {*self._arriving, *(blob for stored in self._images.values() for blob in stored.contents)}

    def _read(self, image_id: ImageId, value: str) -> Stored:
        config = parse_config(self._content.get(Digest(image_id)))
        missing = [diff_id for diff_id in config.diff_ids if not self._layers.has(diff_id)]
        if missing:
            raise NotFound(f"layer {missing[0]} is missing")
        return _parse(value, config)


def no_such_image(text: str) -> NotFound:
    """In docker's words."""
    return NotFound(f"No such image: {text}")


def _encode(stored: Stored) -> str:
    plain = {"manifest_digest": stored.manifest_digest, "parent": stored.parent, "blobs": list(stored.blobs)}
    rare = {"hidden": stored.hidden, "attached": dict(stored.attached)}
    return json.dumps({**plain, **{key: value for key, value in rare.items() if value}})


def _parse(value: str, config: ImageConfig) -> Stored:
    """Raises DataDamaged."""
    try:
        plain = json.loads(value)
        return Stored(
            config=config,
            manifest_digest=str(plain.get("manifest_digest", "")),
            parent=str(plain.get("parent", "")),
            blobs=tuple(parse_digest(blob) for blob in plain["blobs"]),
            hidden=bool(plain.get("hidden")),
            attached={kind: parse_digest(digest) for kind, digest in plain.get("attached", {}).items()},
        )
    except (ValueError, LookupError, TypeError, AttributeError, InvalidArgument) as error:
        raise DataDamaged("its record is malformed") from error
