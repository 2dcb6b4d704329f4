"""The engine's images: how they come, what they are found by, and how they go.

What is known of each is in `images.image_records`, what they are called in `images.names`. The layers of a hidden image
stay until `collect` finds that nobody uses it.

All methods belong to the main thread, except where they say that they wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from guest_agent.images.configs import parse_config, parse_time
from guest_agent.images.contracts import ImageLayers, LayerStaging
from guest_agent.images.downloads import Downloads
from guest_agent.images.image_records import ImageRecords, Stored, no_such_image
from guest_agent.images.names import ID_PREFIX, Names, in_full
from guest_agent.images.provenance import KnownBlob, Provenance
from guest_agent.images.reference import Reference, parse_reference
from guest_agent.images.removal import Users, chain_ids, check_deletable, check_untaggable
from guest_agent.store.content import ContentStore, digest_of
from guest_agent.store.records import Records
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import DiffId, Digest, Image, ImageDeletion, ImageId

_PREFIX = "sha256:"


@dataclass(frozen=True, slots=True)
class NewImage:
    """What `add` records. `config` and `manifest` are the JSON documents; `names` have a tag or a digest each."""

    config: bytes
    names: tuple[Reference, ...] = ()
    manifest: bytes = b""
    manifest_digest: str = ""
    parent: str = ""
    tagged: bool = True  #: by a user, just now; names that come along (pull, load) don't count as that
    blobs: Mapping[DiffId, KnownBlob] = field(default_factory=dict)  #: what its layers came as


class ImageStore:
    """The engine's images. `start` once before anything else."""

    def __init__(self, records: Records, content: ContentStore, layers: ImageLayers) -> None:
        self._database = records
        self._content = content
        self.layers = layers
        self.provenance = Provenance(records)
        self.downloads = Downloads(layers)
        self.records = ImageRecords(records, content, layers)
        self.names = Names(records)

    def start(self) -> list[str]:
        """Read the records, after the layer store's start; remove what a crash left. Returns warnings.

        An image whose configuration or layers can't be read is left out, with its records; a warning names it.
        """
        warnings = self.records.start()
        self.names.start(self.records.all())
        self._drop_unused_layers()
        return warnings

    def all(self) -> tuple[Image, ...]:
        """Every image, newest first."""
        names = self.names.by_image()
        images = [self._image(stored, names[key]) for key, stored in self.records.listed()]
        return tuple(sorted(images, key=lambda image: image.created_ns, reverse=True))

    def find(self, text: str) -> Image:
        """By reference, id, or unique prefix of an id. Raises NotFound, or InvalidArgument where it is ambiguous."""
        return self.get(self._resolve(text))

    def get(self, image_id: ImageId) -> Image:
        """By full id, hidden ones too. Raises NotFound."""
        return self._image(self.records.get(image_id), self.names.of(image_id))

    def has(self, image_id: ImageId) -> bool:
        """Whether it is there, and not hidden."""
        stored = self.records.find(image_id)
        return stored is not None and not stored.hidden

    async def add(self, new: NewImage, staging: LayerStaging) -> ImageId:
        """Record an image whose layers are complete in `staging`. Waits for the disk; then it is durable.

        Raises HostFailed (disk full) with nothing recorded. The caller closes the staging in any case.
        """
        config = parse_config(new.config)
        blobs = [data for data in (new.config, new.manifest) if data]
        with self.records.holding(tuple(digest_of(data) for data in blobs)) as digests:
            for data in blobs:
                await asyncio.to_thread(self._content.put, data)
            await asyncio.to_thread(staging.publish)
            before = self.records.find(config.id)
            attached, parent = (before.attached, new.parent or before.parent) if before else ({}, new.parent)
            self._record(new, Stored(config, new.manifest_digest, parent, digests, attached=attached), staging)
        return config.id

    def _record(self, new: NewImage, stored: Stored, staging: LayerStaging) -> None:
        config = stored.config
        with self._database.transaction():
            staging.record()
            self.records.record(stored)
            self.names.record(new.names, config.id, tagged=new.tagged)
            for diff_id, blob in new.blobs.items():
                self.provenance.add(diff_id, blob)
        staging.recorded()
        self.records.apply(stored)
        self._apply_names(config.id)

    def _apply_names(self, image_id: ImageId) -> None:
        """Also those that it had while it couldn't be read."""
        self.names.apply(self.names.recorded(image_id), image_id)

    def tag(self, source: str, target: str) -> ImageId:
        """Give an image one more name; it is taken from another image if need be."""
        image_id = self._resolve(source)
        reference = parse_reference(target)
        if reference.digest:
            raise InvalidArgument("refusing to create a tag with a digest reference")
        if reference.familiar_name == "sha256":
            raise InvalidArgument("refusing to create an ambiguous tag using digest algorithm as name")
        names = (reference.with_default_tag(),)
        with self._database.transaction():
            self.names.record(names, image_id)
        self.names.apply(names, image_id)
        return image_id

    async def remove(self, text: str, force: bool, users: Users, prune: bool = True) -> tuple[ImageDeletion, ...]:
        """`rmi`: untag, and delete what has no name left; `prune` takes nameless parents along.

        Raises NotFound and Conflict in docker's words. The steps and their order are those of moby's
        daemon/images/image_delete.go.
        """
        image_id = self._resolve(text)
        containers = users.get(image_id, ())
        name = self.names.meant(text) if not self._is_id(text, image_id) else None
        if name is not None:
            deletions = self._remove_name(image_id, text, name, force, containers)
            if self.names.of(image_id) or any(running for _, running in containers):
                return deletions
        else:
            names = self.names.of(image_id)
            check_deletable(image_id, names, force, containers, self.has_children(image_id))
            deletions = self._untag(names)
        if not self.has_children(image_id):
            deletions += self._delete_line(image_id, bool(containers), users if prune else None)
        await asyncio.to_thread(self.layers.sweep)
        return deletions

    async def collect(self, used: Collection[ImageId]) -> None:
        """Delete hidden images that no container uses any more. Call it when a container was removed."""
        unused = [key for key, stored in self.records.all().items() if stored.hidden and key not in used]
        for image_id in unused:
            self._delete(image_id, hide=False)
        if unused:  # a thread is dear on the path of every `run --rm`
            await asyncio.to_thread(self.layers.sweep)

    def has_children(self, image_id: ImageId) -> bool:
        """Was another image that is listed made from it?"""
        return any(stored.parent == image_id for _, stored in self.records.listed())

    def config_data(self, image_id: ImageId) -> bytes:
        """The configuration as it came: its digest is the id."""
        return self._content.get(Digest(image_id))

    def manifest_data(self, image_id: ImageId) -> bytes:
        """The manifest that it came with; b"" where it came with none."""
        others = [blob for blob in self.records.get(image_id).blobs if blob != Digest(image_id)]
        return self._content.get(others[0]) if others else b""

    def note_digest(self, image_id: ImageId, name: Reference) -> None:
        """A registry has it under this digest: one name more, unless it was removed meanwhile."""
        if self.has(image_id):
            self.names.record((name,), image_id)
            self.names.apply((name,), image_id)

    async def drop_unused_layers(self) -> None:
        """Remove layers that belong to no image: an archive may hold some."""
        self._drop_unused_layers()
        await asyncio.to_thread(self.layers.sweep)

    # -- checking and mending

    def restore_documents(self, *documents: bytes) -> None:
        """Put verified documents of an image in the place of damaged ones. Any thread."""
        for data in documents:
            self._content.put(data, durable=True)

    def reread(self, image_id: ImageId) -> None:
        """Take an image that has been mended into use again. Raises HostvmError if it still can't be read."""
        self.records.reread(image_id)
        self._apply_names(image_id)

    def forget(self, image_id: ImageId) -> None:
        """Remove an image, with its names and what only it had; also one that can't be read."""
        stored = self.records.find(image_id)
        with self._dropping_unused_layers(leaving=image_id):
            self.names.forget(image_id)
            self.records.forget(image_id)
        self.names.forgotten(image_id)
        self.records.forgotten(image_id)
        if stored:
            self.records.release(stored.contents)

    def forget_layer(self, diff_id: DiffId) -> list[ImageId]:
        """Remove the images that need a layer which is gone; says which."""
        lost = [key for key, stored in self.records.all().items() if diff_id in stored.config.diff_ids]
        for image_id in lost:
            self.forget(image_id)
        return lost

    async def record_layers(self, staging: LayerStaging) -> None:
        """Record the layers of a staging without an image: they belong to one that is known. Waits for the disk."""
        await asyncio.to_thread(staging.publish)
        with self._database.transaction():
            staging.record()
        staging.recorded()

    # -- names

    def _resolve(self, text: str) -> ImageId:
        found = self._images_by_id(text) if text.startswith(_PREFIX) else []
        reference = None if found else self.names.meant(text)
        named = self.names.find(reference) if reference else None
        if named is not None:
            return named
        found = found or self._images_by_id(text)
        if len(found) > 1:
            raise InvalidArgument(f"ambiguous image ID prefix: {text}")
        if not found:
            raise no_such_image(in_full(text))
        return found[0]

    def _images_by_id(self, text: str) -> list[ImageId]:
        match = ID_PREFIX.fullmatch(text)
        if match is None:
            return []
        wanted = _PREFIX + match[1]
        return [key for key, _ in self.records.listed() if key.startswith(wanted)]

    def _image(self, stored: Stored, names: Sequence[Reference]) -> Image:
        return Image(
            config=stored.config,
            tags=tuple(name.familiar for name in names if name.tag),
            digests=tuple(name.familiar for name in names if name.digest),
            layer_sizes=tuple(self.layers.size(diff_id) for diff_id in stored.config.diff_ids),
            created_ns=parse_time(stored.config.created),
            parent=stored.parent,
            manifest_digest=stored.manifest_digest,
            tagged_ns=self.names.tagged_ns(stored.config.id),
        )

    # -- removal

    def _is_id(self, text: str, image_id: ImageId) -> bool:
        return image_id.removeprefix(_PREFIX).startswith(text.removeprefix(_PREFIX))

    def _remove_name(
        self, image_id: ImageId, text: str, name: Reference, force: bool, users: Sequence[tuple[str, bool]]
    ) -> tuple[ImageDeletion, ...]:
        """Untag; with the last tag of a repository its digests go as well."""
        names = self.names.of(image_id)
        if not force:
            check_untaggable(image_id, text, names, users)
        same = [other for other in names if other.name == name.name and other != name]
        orphans = [] if not name.tag or any(other.tag for other in same) else same
        return self._untag([name, *orphans])

    def _untag(self, names: Sequence[Reference]) -> tuple[ImageDeletion, ...]:
        ids = self.names.remove(names)
        return tuple(ImageDeletion(name.familiar, "", key) for name, key in zip(names, ids, strict=True))

    def _delete_line(self, image_id: ImageId, hide: bool, users: Users | None) -> tuple[ImageDeletion, ...]:
        """Delete it; then its parents as long as they have no name, no other child and no user (None: no parent)."""
        parent = ImageId(self.records.get(image_id).parent)
        deletions = self._delete(image_id, hide)
        if users is None or not self.has(parent):
            return deletions
        if self.names.of(parent) or self.has_children(parent) or users.get(parent):
            return deletions
        return deletions + self._delete_line(parent, False, users)

    def _delete(self, image_id: ImageId, hide: bool) -> tuple[ImageDeletion, ...]:
        stored = self.records.get(image_id)
        if hide:
            self.records.put(replace(stored, hidden=True))
            return (ImageDeletion("", image_id, image_id),)
        before = set(self.layers.known())
        self.forget(image_id)
        gone = before.difference(self.layers.known())
        diff_ids = stored.config.diff_ids
        chain = zip(reversed(chain_ids(diff_ids)), reversed(diff_ids), strict=True)
        layers = (ImageDeletion(deleted=chain_id) for chain_id, diff_id in chain if diff_id in gone)
        return (ImageDeletion("", image_id, image_id), *layers)

    def _drop_unused_layers(self) -> None:
        with self._dropping_unused_layers():
            pass  # nothing else goes

    @contextmanager
    def _dropping_unused_layers(self, leaving: ImageId | None = None) -> Iterator[None]:
        """A transaction for the block, in which those layers go, too, that no image but `leaving` has."""
        used = self.records.used_layers(leaving)
        unused = [] if used is None else [diff_id for diff_id in self.layers.known() if diff_id not in used]
        with self.layers.removing(unused):
            if used is not None:
                self.provenance.retain(used)
            yield
