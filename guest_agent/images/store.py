"""Images and their names, in records; configurations and manifests in the content store.

Records: kind "image", key image id: {"manifest_digest", "parent", "blobs", "attached", "hidden"}; names are in
`images.names`. `attached` are documents beside it (an SBOM), by their media type. An image that was removed by force
while a stopped container needs it is *hidden*: no name, in no list, and its layers stay until `collect` finds that
nobody uses it.

All methods belong to the main thread, except where they say that they wait.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from guest_agent.images.configs import parse_config, parse_time
from guest_agent.images.contracts import ImageLayers, LayerStaging
from guest_agent.images.downloads import Downloads
from guest_agent.images.names import ID_PREFIX, Names
from guest_agent.images.provenance import KnownBlob, Provenance
from guest_agent.images.reference import Reference, parse_reference
from guest_agent.images.removal import Users, chain_ids, check_deletable, check_untaggable
from guest_agent.store.content import ContentStore, digest_of
from guest_agent.store.records import Records
from guest_agent.wire.errors import HostvmError, InvalidArgument, NotFound
from guest_agent.wire.models import DiffId, Digest, Image, ImageConfig, ImageDeletion, ImageId

_IMAGE = "image"
_PREFIX = "sha256:"


@dataclass(frozen=True, slots=True)
class NewImage:
    """What `add` records. `config` and `manifest` are the JSON documents; `names` have a tag or a digest each."""

    config: bytes
    names: tuple[Reference, ...] = ()
    manifest: bytes = b""
    manifest_digest: str = ""
    parent: str = ""
    blobs: Mapping[DiffId, KnownBlob] = field(default_factory=dict)  #: what its layers came as


@dataclass(frozen=True, slots=True)
class _Stored:
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


class ImageStore:
    """The engine's images. `start` once before anything else."""

    def __init__(self, records: Records, content: ContentStore, layers: ImageLayers) -> None:
        self._records = records
        self._content = content
        self.layers = layers
        self.provenance = Provenance(records)
        self.downloads = Downloads(layers)
        self._images: dict[ImageId, _Stored] = {}
        self.names = Names(records)
        self._unreadable: dict[ImageId, str] = {}
        #: Some image can't be read: nobody knows which layers and blobs are its own, so none is taken as unused.
        self._keeps_all = False
        #: Blobs of images that are being added: written, or found, before the record that refers to them.
        self._arriving: Counter[Digest] = Counter()

    def start(self) -> list[str]:
        """Read the records, after the layer store's start; remove what a crash left. Returns warnings.

        An image whose configuration or layers can't be read is left out, with its records; a warning names it.
        """
        warnings = []
        for key, value in self._records.items(_IMAGE):
            try:
                self._images[ImageId(key)] = self._read(json.loads(value), ImageId(key))
            except (HostvmError, ValueError, LookupError) as error:
                warnings.append(f"image {key} can't be used: {error}")
                self._unreadable[ImageId(key)] = str(error)
        self.names.start(self._images)
        self._keeps_all = bool(warnings)
        if not warnings:
            self._content.retain(blob for stored in self._images.values() for blob in stored.contents)
            with self._records.transaction():
                paths = self._remove_unused_layers()
            self.layers.discard(paths)
        return warnings

    def all(self) -> tuple[Image, ...]:
        """Every image, newest first."""
        names = self.names.by_image()
        images = [self._image(key, names[key]) for key, stored in self._images.items() if not stored.hidden]
        return tuple(sorted(images, key=lambda image: image.created_ns, reverse=True))

    def find(self, text: str) -> Image:
        """By reference, id, or unique prefix of an id. Raises NotFound, or InvalidArgument where it is ambiguous."""
        return self.get(self._resolve(text))

    def get(self, image_id: ImageId) -> Image:
        """By full id, hidden ones too. Raises NotFound."""
        if image_id not in self._images:
            raise _no_such_image(image_id)
        return self._image(image_id, self.names.of(image_id))

    def has(self, image_id: ImageId) -> bool:
        """Whether it is there, and not hidden."""
        return image_id in self._images and not self._images[image_id].hidden

    async def add(self, new: NewImage, staging: LayerStaging) -> ImageId:
        """Record an image whose layers are complete in `staging`. Waits for the disk; then it is durable.

        Raises HostFailed (disk full) with nothing recorded. The caller closes the staging in any case.
        """
        config = parse_config(new.config)
        blobs = [data for data in (new.config, new.manifest) if data]
        with self._held(tuple(digest_of(data) for data in blobs)) as digests:
            for data in blobs:
                await asyncio.to_thread(self._content.put, data)
            await asyncio.to_thread(staging.publish)
            attached = self._images[config.id].attached if config.id in self._images else {}
            self._record(new, _Stored(config, new.manifest_digest, new.parent, digests, attached=attached), staging)
        return config.id

    @contextmanager
    def _held(self, blobs: tuple[Digest, ...]) -> Iterator[tuple[Digest, ...]]:
        """They are no strays for the time, recorded or not, and stay where an image that has them is removed."""
        self._arriving.update(blobs)
        try:
            yield blobs
        finally:
            self._arriving.subtract(blobs)
            self._arriving += Counter()  # drops those that nobody holds any more

    def _record(self, new: NewImage, stored: _Stored, staging: LayerStaging) -> None:
        config = stored.config
        with self._records.transaction():
            staging.record()
            self._records.put(_IMAGE, config.id, _encode(stored))
            self.names.record(new.names, config.id)
            for diff_id, blob in new.blobs.items():
                self.provenance.add(diff_id, blob)
        staging.recorded()
        self._images[config.id] = stored
        self.names.apply(new.names, config.id)

    def tag(self, source: str, target: str) -> ImageId:
        """Give an image one more name; it is taken from another image if need be."""
        image_id = self._resolve(source)
        reference = parse_reference(target)
        if reference.digest:
            raise InvalidArgument("refusing to create a tag with a digest reference")
        if reference.familiar_name == "sha256":
            raise InvalidArgument("refusing to create an ambiguous tag using digest algorithm as name")
        names = (reference.with_default_tag(),)
        with self._records.transaction():
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
        unused = [key for key, stored in self._images.items() if stored.hidden and key not in used]
        for image_id in unused:
            self._delete(image_id, hide=False)
        if unused:  # a thread is dear on the path of every `run --rm`
            await asyncio.to_thread(self.layers.sweep)

    def has_children(self, image_id: ImageId) -> bool:
        """Was another image that is listed made from it?"""
        return any(stored.parent == image_id and not stored.hidden for stored in self._images.values())

    def config_data(self, image_id: ImageId) -> bytes:
        """The configuration as it came: its digest is the id."""
        return self._content.get(Digest(image_id))

    def manifest_data(self, image_id: ImageId) -> bytes:
        """The manifest that it came with; b"" where it came with none."""
        others = [blob for blob in self._images[image_id].blobs if blob != Digest(image_id)]
        return self._content.get(others[0]) if others else b""

    async def attach(self, image_id: ImageId, media_type: str, document: bytes) -> None:
        """Keep a document beside an image, in the place of one of the same type; `push` takes it along. Durable."""
        with self._held((digest_of(document),)) as (digest,):
            await asyncio.to_thread(self._content.put, document, True)
            if image_id not in self._images:
                raise _no_such_image(image_id)
            before = self._images[image_id]
            after = replace(before, attached={**before.attached, media_type: digest})
            self._records.put(_IMAGE, image_id, _encode(after))
            self._images[image_id] = after
            self._delete_blobs(before.contents)

    def attachments(self, image_id: ImageId) -> tuple[str, ...]:
        """The media types of the documents beside an image."""
        return tuple(self._images[image_id].attached)

    def attachment(self, image_id: ImageId, media_type: str) -> bytes:
        """The document. Raises NotFound, DataDamaged."""
        return self._content.get(self._images[image_id].attached[media_type])

    def note_digest(self, image_id: ImageId, name: Reference) -> None:
        """A registry has it under this digest: one name more."""
        self.names.record((name,), image_id)
        self.names.apply((name,), image_id)

    async def drop_unused_layers(self) -> None:
        """Remove layers that belong to no image: an archive may hold some."""
        with self._records.transaction():
            paths = self._remove_unused_layers()
        self.layers.discard(paths)
        await asyncio.to_thread(self.layers.sweep)

    # -- checking and mending

    def damaged_documents(self) -> list[tuple[ImageId, str]]:
        """Images whose configuration or manifest isn't what it was, and those that couldn't be read at the start."""
        found = dict(self._unreadable)
        for image_id, stored in list(self._images.items()):
            for blob in stored.blobs:
                try:
                    self._content.get(blob)
                except HostvmError as error:
                    found[image_id] = error.message
        return list(found.items())

    def damaged_attachments(self) -> list[tuple[ImageId, str, str]]:
        """Documents beside images that aren't what they were: image, media type, what is wrong."""
        found = []
        for image_id, stored in list(self._images.items()):
            for kind, digest in stored.attached.items():
                try:
                    self._content.get(digest)
                except HostvmError as error:
                    found.append((image_id, kind, error.message))
        return found

    def detach(self, image_id: ImageId, media_type: str) -> None:
        """Forget a document beside an image; where the image has gone there is none."""
        before = self._images.get(image_id)
        if before is None:
            return
        left = {kind: digest for kind, digest in before.attached.items() if kind != media_type}
        self._images[image_id] = replace(before, attached=left)
        self._records.put(_IMAGE, image_id, _encode(self._images[image_id]))
        self._delete_blobs(before.contents)

    def restore_documents(self, *documents: bytes) -> None:
        """Put verified documents of an image in the place of damaged ones. Any thread."""
        for data in documents:
            self._content.delete(digest_of(data))
            self._content.put(data, durable=True)

    def reread(self, image_id: ImageId) -> None:
        """Take an image that has been mended into use again. Raises HostvmError if it still can't be read."""
        value = self._records.get(_IMAGE, image_id)
        self._images[image_id] = self._read(json.loads(value or "{}"), image_id)
        self.names.apply(self.names.recorded(image_id), image_id)
        self._unreadable.pop(image_id, None)
        self._keeps_all = bool(self._unreadable)

    def forget(self, image_id: ImageId) -> None:
        """Remove an image that can't be mended, with its names and what only it had."""
        blobs = self._images[image_id].contents if image_id in self._images else ()
        with self._records.transaction():
            self.names.forget(image_id)
            self._records.delete(_IMAGE, image_id)
        self._images.pop(image_id, None)
        self._unreadable.pop(image_id, None)
        self._keeps_all = bool(self._unreadable)
        with self._records.transaction():
            paths = self._remove_unused_layers()
        self.layers.discard(paths)
        self._delete_blobs(blobs)

    def forget_layer(self, diff_id: DiffId) -> list[ImageId]:
        """Remove the images that need a layer which is gone; says which."""
        lost = [key for key, stored in self._images.items() if diff_id in stored.config.diff_ids]
        for image_id in lost:
            self.forget(image_id)
        return lost

    async def record_layers(self, staging: LayerStaging) -> None:
        """Record the layers of a staging without an image: they belong to one that is known. Waits for the disk."""
        await asyncio.to_thread(staging.publish)
        with self._records.transaction():
            staging.record()
        staging.recorded()

    def stray_blobs(self) -> list[str]:
        """Paths of blobs that no image has, recorded or on its way.

        None where some image can't be read: they may be its.
        """
        used = {*self._arriving, *(blob for stored in self._images.values() for blob in stored.contents)}
        return (
            [] if self._keeps_all else [self._content.path(one) for one in self._content.digests() if one not in used]
        )

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
            raise _no_such_image(text)
        return found[0]

    def _images_by_id(self, text: str) -> list[ImageId]:
        match = ID_PREFIX.fullmatch(text)
        if match is None:
            return []
        wanted = _PREFIX + match[1]
        return [key for key, stored in self._images.items() if key.startswith(wanted) and not stored.hidden]

    def _image(self, image_id: ImageId, names: Sequence[Reference]) -> Image:
        stored = self._images[image_id]
        return Image(
            config=stored.config,
            tags=tuple(name.familiar for name in names if name.tag),
            digests=tuple(name.familiar for name in names if name.digest),
            layer_sizes=tuple(self.layers.size(diff_id) for diff_id in stored.config.diff_ids),
            created_ns=parse_time(stored.config.created),
            parent=stored.parent,
            manifest_digest=stored.manifest_digest,
            tagged_ns=self.names.tagged_ns(image_id),
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
        parent = ImageId(self._images[image_id].parent)
        deletions = self._delete(image_id, hide)
        if users is None or parent not in self._images or self._images[parent].hidden:
            return deletions
        if self.names.of(parent) or self.has_children(parent) or users.get(parent):
            return deletions
        return deletions + self._delete_line(parent, False, users)

    def _delete(self, image_id: ImageId, hide: bool) -> tuple[ImageDeletion, ...]:
        stored = self._images[image_id]
        if hide:
            hidden = replace(stored, hidden=True)
            self._records.put(_IMAGE, image_id, _encode(hidden))
            self._images[image_id] = hidden
            return (ImageDeletion("", image_id, image_id),)
        before = set(self.layers.known())
        with self._records.transaction():
            self._records.delete(_IMAGE, image_id)
            self.names.forget(image_id)
            del self._images[image_id]
            paths = self._remove_unused_layers()
        self.layers.discard(paths)
        self._delete_blobs(stored.contents)
        gone = before.difference(self.layers.known())
        diff_ids = stored.config.diff_ids
        chain = zip(reversed(chain_ids(diff_ids)), reversed(diff_ids), strict=True)
        layers = (ImageDeletion(deleted=chain_id) for chain_id, diff_id in chain if diff_id in gone)
        return (ImageDeletion("", image_id, image_id), *layers)

    def _remove_unused_layers(self) -> list[str]:
        """Within a transaction: forget the layers that no image has; returns their folders."""
        if self._keeps_all:
            return []
        used = {diff_id for stored in self._images.values() for diff_id in stored.config.diff_ids}
        self.provenance.retain(used)
        return self.layers.remove([diff_id for diff_id in self.layers.known() if diff_id not in used])

    def _delete_blobs(self, blobs: Sequence[Digest]) -> None:
        if self._keeps_all:
            return
        used = {blob for stored in self._images.values() for blob in stored.contents}
        for blob in blobs:
            if blob not in used and blob not in self._arriving:
                self._content.delete(blob)

    def _read(self, plain: dict[str, object], image_id: ImageId) -> _Stored:
        config = parse_config(self._content.get(Digest(image_id)))
        missing = [diff_id for diff_id in config.diff_ids if not self.layers.has(diff_id)]
        if missing:
            raise NotFound(f"layer {missing[0]} is missing")
        blobs = plain["blobs"]
        if not isinstance(blobs, list):
            raise ValueError("its record is malformed")
        return _Stored(
            config=config,
            manifest_digest=str(plain.get("manifest_digest", "")),
            parent=str(plain.get("parent", "")),
            blobs=tuple(Digest(str(blob)) for blob in blobs),
            hidden=bool(plain.get("hidden")),
            attached=_parse_attached(plain.get("attached", {})),
        )


def _encode(stored: _Stored) -> str:
    plain = {"manifest_digest": stored.manifest_digest, "parent": stored.parent, "blobs": list(stored.blobs)}
    rare = {"hidden": stored.hidden, "attached": dict(stored.attached)}
    return json.dumps({**plain, **{key: value for key, value in rare.items() if value}})


def _parse_attached(value: object) -> dict[str, Digest]:
    if not isinstance(value, dict):
        raise ValueError("its record is malformed")
    return {str(kind): Digest(str(digest)) for kind, digest in value.items()}


def _no_such_image(text: str) -> NotFound:
    return NotFound(f"No such image: {text}")
