"""`load`: images from a tar stream, docker's archive (manifest.json) or an OCI layout (index.json).

The documents that say what is a layer can come last, and the stream can't be read twice. So what is small and looks
like JSON is kept, and everything else is unpacked as a layer while it passes. What turns out not to be one is an error
only if an image names it. Nothing is recorded before the whole archive has been read and understood.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from time import monotonic
from typing import Any

from guest_agent.images.configs import is_next_step, parse_config
from guest_agent.images.contracts import LayerStaging, LayerUnpacker
from guest_agent.images.manifests import MAX_DOCUMENT, Index, Manifest, choose, parse_document, parse_manifest
from guest_agent.images.platforms import host_platform
from guest_agent.images.progress import BAR_INTERVAL, Progress, bar
from guest_agent.images.reference import Reference, parse_reference
from guest_agent.images.store import ImageStore, NewImage
from guest_agent.store.content import digest_of
from guest_agent.store.tar import HARD_LINK, REGULAR, SYMBOLIC_LINK, TarEntry, TarError
from guest_agent.store.tar_stream import TarStream
from guest_agent.store.threads import finish_in_thread
from guest_agent.wire.compression import COMPRESSED
from guest_agent.wire.errors import HostvmError, InvalidArgument, PeerMisbehaved
from guest_agent.wire.models import DiffId, Digest, ImageId

#: All documents of an archive together: a few kilobytes an image.
_MAX_DOCUMENTS = 64 << 20
#: A tar isn't smaller than a block.
_BLOCK = 512
_NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


async def load(
    store: ImageStore, chunks: AsyncIterator[bytes], on_loaded: Callable[[ImageId], None] = lambda _image_id: None
) -> AsyncGenerator[Progress, None]:
    """Load every image of the archive; bars, then docker's lines {"stream": "Loaded image: …\\n"}.

    Raises PeerMisbehaved or HostFailed; nothing is loaded then.
    """
    staging = store.layers.stage()
    members = _Members(staging)
    try:
        async for chunk in chunks:
            await finish_in_thread(members.feed, chunk)
            if (progress := members.progress()) is not None:
                yield progress
        await finish_in_thread(members.finish)
        for new in list(_images(members)):
            moved = [line for name in new.names for line in _moved(store, name, digest_of(new.config))]
            image_id = await store.add(new, staging)
            on_loaded(image_id)
            for text in [f": {name.familiar}" for name in new.names] or [f" ID: {image_id}"]:
                moved.append(f"Loaded image{text}\n")
            for text in moved:
                yield {"stream": text}
    finally:
        await asyncio.to_thread(members.close)
        await asyncio.to_thread(staging.close)
        await store.drop_unused_layers()


def _moved(store: ImageStore, name: Reference, image_id: str) -> Iterator[str]:
    old = store.names.find(name)
    if old not in (None, image_id):
        yield f"The image {name.familiar} already exists, renaming the old one with ID {old} to empty string\n"


class _Members:
    """The archive's files as they pass: documents by name, layers by name. Blocking; one thread at a time."""

    def __init__(self, staging: LayerStaging) -> None:
        self.documents: dict[str, bytes] = {}
        self.layers: dict[str, tuple[DiffId, str]] = {}  #: name -> (diff id, digest of the file)
        self.broken: dict[str, HostvmError] = {}
        self.links: dict[str, str] = {}
        self._staging = staging
        self._stream = TarStream()
        self._member: _Document | _Layer | None = None
        self._documents_size = 0
        self._next_bar = 0.0

    def feed(self, data: bytes) -> None:
        try:
            for event in self._stream.feed(data):
                self._take(event)
        except TarError as error:
            raise PeerMisbehaved(f"the archive can't be read: {error}") from error

    def finish(self) -> None:
        try:
            if self._stream.empty:
                raise TarError("it is empty")
            self._stream.finish()
        except TarError as error:
            raise PeerMisbehaved(f"the archive can't be read: {error}") from error
        self._end_member()

    def progress(self) -> Progress | None:
        """The bar of the layer in work, if it is time for one."""
        if not isinstance(self._member, _Layer) or (now := monotonic()) < self._next_bar:
            return None
        self._next_bar = now + BAR_INTERVAL
        return bar("Loading layer", layer_label(self._member.name), self._member.passed, self._member.size)

    def close(self) -> None:
        if isinstance(self._member, _Layer):
            self._member.unpacker.abort()

    def resolve(self, name: str) -> str:
        """Through the links that old `docker save` writes for layers that occur twice."""
        for _ in range(len(self.links) + 1):
            name = self.links.get(name, name)
        return name

    def _take(self, event: TarEntry | memoryview) -> None:
        if isinstance(event, TarEntry):
            self._end_member()
            self._begin_member(event)
        elif self._member is not None:
            self._member = self._write(self._member, bytes(event))

    def _begin_member(self, entry: TarEntry) -> None:
        name = _plain(entry.name.decode(errors="replace"))
        if entry.kind == REGULAR:
            small = entry.size <= MAX_DOCUMENT
            self._member = _Document(name) if small else _Layer(name, entry.size, self._staging.unpacker())
        elif entry.kind == HARD_LINK:
            self.links[name] = _plain(entry.link.decode(errors="replace"))
        elif entry.kind == SYMBOLIC_LINK:
            folder = name.rpartition("/")[0]
            self.links[name] = _plain(f"{folder}/{entry.link.decode(errors='replace')}")

    def _write(self, member: _Document | _Layer, piece: bytes) -> _Document | _Layer | None:
        try:
            member.write(piece)
        except PeerMisbehaved as error:
            self._abandon(member, error)
            return None
        return member

    def _end_member(self) -> None:
        member, self._member = self._member, None
        if isinstance(member, _Document):
            member = self._end_document(member)
        if member is None:
            return
        try:
            self.layers[member.name] = (member.unpacker.finish(), f"sha256:{member.hash.hexdigest()}")
        except PeerMisbehaved as error:
            self._abandon(member, error)
        finally:
            member.unpacker.abort()

    def _end_document(self, member: _Document) -> _Layer | None:
        """Keep it, or find that it is a small layer."""
        data = bytes(member.data)
        if not _is_layer(data):
            self._documents_size += len(data)
            if self._documents_size > _MAX_DOCUMENTS:
                raise PeerMisbehaved(f"the archive holds more than {_MAX_DOCUMENTS} bytes of documents")
            self.documents[member.name] = data
            return None
        layer = _Layer(member.name, len(data), self._staging.unpacker())
        return layer if self._write(layer, data) else None

    def _abandon(self, member: _Document | _Layer, error: HostvmError) -> None:
        self.broken[member.name] = error
        if isinstance(member, _Layer):
            member.unpacker.abort()


class _Document:
    def __init__(self, name: str) -> None:
        self.name = name
        self.data = bytearray()

    def write(self, piece: bytes) -> None:
        self.data += piece


class _Layer:
    def __init__(self, name: str, size: int, unpacker: LayerUnpacker) -> None:
        self.name = name
        self.size = size
        self.passed = 0
        self.unpacker = unpacker
        self.hash = hashlib.sha256()

    def write(self, piece: bytes) -> None:
        self.passed += len(piece)
        self.hash.update(piece)
        self.unpacker.write(piece)


def layer_label(name: str) -> str:
    """The 12 digits by which a layer is known while it is loaded, of `blobs/sha256/<hex>` or `<hex>/layer.tar`."""
    return name.removesuffix("/layer.tar").rpartition("/")[2][:12]


def _is_layer(data: bytes) -> bool:
    if data.startswith(COMPRESSED):
        return True
    return len(data) >= _BLOCK and data.lstrip()[:1] not in (b"{", b"[")


def _plain(name: str) -> str:
    """Without `.`, `..` and empty parts, from the archive's root."""
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _images(members: _Members) -> list[NewImage]:
    if "manifest.json" in members.documents:
        return list(_docker_images(members))
    if "index.json" in members.documents:
        return list(_oci_images(members))
    raise PeerMisbehaved("the archive holds no image: neither manifest.json nor index.json is in it")


def _docker_images(members: _Members) -> Iterator[NewImage]:
    """moby image/tarexport: a list of {"Config", "RepoTags", "Layers", "Parent"}."""
    try:
        listed = json.loads(members.documents["manifest.json"])
        wanted = [
            (str(item["Config"]), item.get("RepoTags") or [], list(item["Layers"] or []), str(item.get("Parent") or ""))
            for item in listed
        ]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise PeerMisbehaved("manifest.json of the archive is malformed") from error
    configs = {digest_of(data): parse_config(data) for data in (_document(members, name) for name, *_ in wanted)}
    for config_name, tags, layers, parent in wanted:
        config = _document(members, config_name)
        _check_layers(members, config, [str(layer) for layer in layers], by_digest=False)
        names = tuple(parse_reference(str(tag)).with_default_tag() for tag in tags)
        known = parent in configs and is_next_step(configs[digest_of(config)], configs[Digest(parent)])
        yield NewImage(config, names, parent=parent if known else "", tagged=False)


def _oci_images(members: _Members) -> Iterator[NewImage]:
    """image-spec image-layout.md. Of an index inside the index, the image of this machine's platform is taken."""
    document = parse_document(members.documents["index.json"], "index.json of the archive")
    index = parse_manifest(members.documents["index.json"])
    if not isinstance(index, Index):
        raise PeerMisbehaved("index.json of the archive isn't an index")
    for descriptor, plain in zip(index.manifests, document["manifests"], strict=True):
        data = _blob(members, descriptor.digest)
        parsed = parse_manifest(data, descriptor.media_type)
        if isinstance(parsed, Index):
            data = _blob(members, choose(parsed, host_platform()).digest)
            parsed = parse_manifest(data)
        if not isinstance(parsed, Manifest):
            raise PeerMisbehaved("the archive holds an index in an index in an index")
        config = _blob(members, parsed.config.digest)
        _check_layers(members, config, [_blob_name(layer.digest) for layer in parsed.layers], by_digest=True)
        yield NewImage(config, _oci_name(plain), manifest=data, manifest_digest=descriptor.digest, tagged=False)


def _oci_name(plain: dict[str, Any]) -> tuple[Reference, ...]:
    """The first annotation that is a whole reference; a bare tag ("latest") names nothing."""
    annotations = plain.get("annotations")
    for key in _NAME_ANNOTATIONS:
        text = str(annotations.get(key, "")) if isinstance(annotations, dict) else ""
        if ":" in text or "/" in text:
            try:
                return (parse_reference(text).with_default_tag(),)
            except InvalidArgument:
                continue
    return ()


def _document(members: _Members, name: str) -> bytes:
    data = members.documents.get(members.resolve(_plain(name)))
    if data is None:
        raise PeerMisbehaved(f"the archive lacks {name[:200]!r}")
    return data


def _blob_name(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _blob(members: _Members, digest: str) -> bytes:
    data = _document(members, _blob_name(digest))
    if digest_of(data) != digest:
        raise PeerMisbehaved(f"verification failed for digest {digest}")
    return data


def _check_layers(members: _Members, config_data: bytes, names: list[str], by_digest: bool) -> None:
    """Every layer is there, is what the configuration says, and, in an OCI layout, what its name says."""
    diff_ids = parse_config(config_data).diff_ids
    if len(diff_ids) != len(names):
        raise PeerMisbehaved(f"invalid manifest, layers length mismatch: expected {len(diff_ids)}, got {len(names)}")
    for expected, name in zip(diff_ids, names, strict=True):
        found = members.resolve(_plain(name))
        if found in members.broken:
            raise members.broken[found]
        if found not in members.layers:
            raise PeerMisbehaved(f"the archive lacks {name[:200]!r}")
        diff_id, digest = members.layers[found]
        if by_digest and _blob_name(digest) != found:
            raise PeerMisbehaved(f"filesystem layer verification failed for {name}")
        if diff_id != expected:
            raise PeerMisbehaved(f"invalid diffID for layer {name}: expected {expected}, got {diff_id}")
