"""`save`: images as a tar that is docker's archive (manifest.json, repositories) and an OCI layout at once.

As docker does since 25.0 (moby image/tarexport/save.go): every document and layer is a blob by its digest. Layers are
the tars that they came as, uncompressed, so that the images that are loaded elsewhere have the same ids.
"""

from __future__ import annotations

import asyncio
import json
import tarfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from guest_agent.images.configs import is_next_step
from guest_agent.images.contracts import ImageLayers
from guest_agent.images.manifests import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from guest_agent.images.reference import Reference, parse_reference
from guest_agent.images.store import ImageStore
from guest_agent.store.content import digest_of
from guest_agent.store.pieces import without_blocking
from guest_agent.wire.errors import HostFailed, InvalidArgument, NotFound
from guest_agent.wire.models import DiffId, Image, ImageId

_REF_NAME = "org.opencontainers.image.ref.name"
_IMAGE_NAME = "io.containerd.image.name"


@dataclass(frozen=True, slots=True)
class Chosen:
    """An image with the names that it is saved under."""

    image: Image
    config: bytes
    names: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the archive; a layer's content is read when it is its turn. A name with a slash is a folder."""

    name: str
    content: bytes | DiffId = b""
    size: int = 0
    time: int = 0  #: seconds since the epoch


def choose_images(store: ImageStore, texts: Sequence[str]) -> tuple[Chosen, ...]:
    """What `save` means by its arguments: a repository without a tag is all of its tags. Raises NotFound."""
    names: dict[ImageId, dict[Reference, None]] = {}
    for text in texts:
        for image_id, name in _meant(store, text):
            kept = names.setdefault(image_id, {})
            if name is not None:
                kept[name] = None
    return tuple(Chosen(store.get(key), store.config_data(key), tuple(found)) for key, found in names.items())


def _meant(store: ImageStore, text: str) -> list[tuple[ImageId, Reference | None]]:
    image_id, reference = _find(store, text)
    if reference is None or not (reference.tag or reference.digest):
        tags = store.names.tags_in(reference) if reference else ()
        if tags:
            return [(store.find(name.canonical).config.id, name) for name in tags]
    if image_id is None:
        raise NotFound(f"reference does not exist: {text}" if reference is None else f"No such image: {text}")
    named = reference if reference and reference.tag and store.names.find(reference) == image_id else None
    return [(image_id, named)]


def _find(store: ImageStore, text: str) -> tuple[ImageId | None, Reference | None]:
    try:
        image_id: ImageId | None = store.find(text).config.id
    except NotFound:
        image_id = None
    try:
        return image_id, parse_reference(text)
    except InvalidArgument:
        return image_id, None


async def save(store: ImageStore, chosen: Sequence[Chosen]) -> AsyncGenerator[bytes, None]:
    """The archive, piece by piece. Raises DataDamaged where a layer isn't what it was."""
    staging = store.layers.stage()
    try:
        diff_ids = dict.fromkeys(diff_id for one in chosen for diff_id in one.image.config.diff_ids)
        for diff_id in diff_ids:
            if not staging.reuse(diff_id):
                raise NotFound(f"layer {diff_id} is missing")
        sizes = {diff_id: await asyncio.to_thread(store.layers.tar_size, diff_id) for diff_id in diff_ids}
        for member in plan_archive(chosen, sizes):
            async with aclosing(_written(store.layers, member)) as pieces:
                async for piece in pieces:
                    yield piece
        yield bytes(2 * tarfile.BLOCKSIZE)
    finally:
        await asyncio.to_thread(staging.close)


async def _written(layers: ImageLayers, member: Member) -> AsyncGenerator[bytes, None]:
    yield _header(member)
    if isinstance(member.content, bytes):
        yield member.content
    else:
        left = member.size
        async with aclosing(without_blocking(layers.tar(member.content))) as pieces:
            async for piece in pieces:
                left -= len(piece)
                yield piece
        if left:
            raise HostFailed(f"layer {member.content} has another size than was recorded")
    yield bytes(-member.size % tarfile.BLOCKSIZE)


def _header(member: Member) -> bytes:
    info = tarfile.TarInfo(member.name)
    info.mtime = member.time
    if member.name.endswith("/"):
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    else:
        info.mode, info.size = 0o644, member.size
    return info.tobuf(tarfile.PAX_FORMAT)


def plan_archive(chosen: Sequence[Chosen], sizes: Mapping[DiffId, int]) -> list[Member]:
    """Every member in its order, given the sizes of the layers' tars. Pure."""
    blobs: dict[str, Member] = {}
    descriptors: list[dict[str, Any]] = []
    for one in chosen:
        time = one.image.created_ns // 10**9
        manifest = _encode(_manifest(one, sizes))
        members = [Member(_blob_name(diff_id), diff_id, sizes[diff_id], time) for diff_id in one.image.config.diff_ids]
        members += [_document(_blob_name(digest_of(data)), data, time) for data in (one.config, manifest)]
        blobs.update((member.name, member) for member in members)
        descriptors += _descriptors(one, manifest)
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors}
    documents = {
        "index.json": index,
        "manifest.json": [{**_listed(one), **_parent(one, chosen)} for one in chosen],
        "oci-layout": {"imageLayoutVersion": "1.0.0"},
        "repositories": _repositories(chosen),
    }
    members = [_document(name, _encode(value)) for name, value in documents.items() if value]
    return [Member("blobs/"), Member("blobs/sha256/"), *(blobs[name] for name in sorted(blobs)), *members]


def _manifest(one: Chosen, sizes: Mapping[DiffId, int]) -> dict[str, Any]:
    layers = [_descriptor(OCI_LAYER, diff_id, sizes[diff_id]) for diff_id in one.image.config.diff_ids]
    config = _descriptor(OCI_CONFIG, one.image.config.id, len(one.config))
    return {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}


def _descriptors(one: Chosen, manifest: bytes) -> list[dict[str, Any]]:
    """In the index: one for each name, or one without."""
    config = one.image.config
    platform = {"architecture": config.architecture, "os": config.os}
    if config.variant:
        platform["variant"] = config.variant
    plain = {**_descriptor(OCI_MANIFEST, digest_of(manifest), len(manifest)), "platform": platform}
    named = [{**plain, "annotations": {_IMAGE_NAME: name.canonical, _REF_NAME: name.tag}} for name in one.names]
    return named or [plain]


def _listed(one: Chosen) -> dict[str, Any]:
    return {
        "Config": _blob_name(one.image.config.id),
        "RepoTags": [name.familiar for name in one.names] or None,
        "Layers": [_blob_name(diff_id) for diff_id in one.image.config.diff_ids],
    }


def _parent(one: Chosen, chosen: Sequence[Chosen]) -> dict[str, Any]:
    """Where it is in the archive, too: dockerd refuses one from which there is more than a single step."""
    parent = next((other for other in chosen if other.image.config.id == one.image.parent), None)
    known = parent is not None and is_next_step(one.image.config, parent.image.config)
    return {"Parent": one.image.parent} if known else {}


def _repositories(chosen: Sequence[Chosen]) -> dict[str, dict[str, str]]:
    """docker's oldest form: repository -> tag -> the last layer."""
    found: dict[str, dict[str, str]] = {}
    for one in chosen:
        layers = one.image.config.diff_ids
        for name in one.names:
            found.setdefault(name.familiar_name, {})[name.tag] = layers[-1].removeprefix("sha256:") if layers else ""
    return found


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _document(name: str, data: bytes, time: int = 0) -> Member:
    return Member(name, data, len(data), time)


def _blob_name(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _encode(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
