"""Manifests and indexes: JSON from a registry or an archive -> values. Pure; nothing in it is trusted.

OCI image-spec manifest.md and image-index.md; docker's "Image Manifest Version 2, Schema 2" has the same shape.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from guest_agent.images.platforms import Platform, make_platform
from guest_agent.store.content import parse_digest
from guest_agent.wire.errors import InvalidArgument, NotFound, PeerMisbehaved, Unsupported
from guest_agent.wire.models import Digest

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
ACCEPTED = (DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX)

_SURROGATES = re.compile("[\ud800-\udfff]")
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"
#: distribution/registry/storage and containerd take manifests up to 4 MiB; so do we, and configurations as well.
MAX_DOCUMENT = 4 << 20
#: overlayfs takes 500 lower folders (OVL_MAX_STACK); docker stops at 127.
MAX_LAYERS = 500


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob that a document refers to."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Index:
    manifests: tuple[Descriptor, ...]


def parse_document(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object, or PeerMisbehaved naming `what`."""
    try:
        document = json.loads(data)
        if b"\\u" in data or b"\xed" in data:
            document = json.loads(without_surrogates(json.dumps(document, ensure_ascii=False)))
    except (ValueError, RecursionError) as error:
        raise PeerMisbehaved(f"{what} isn't valid JSON") from error
    if not isinstance(document, dict):
        raise PeerMisbehaved(f"{what} isn't a JSON object")
    return document


def without_surrogates(text: str) -> str:
    """What can't be written as UTF-8 becomes U+FFFD, as Go's encoding/json does it when it reads and when it writes."""
    return _SURROGATES.sub("\ufffd", text)


def parse_manifest(data: bytes, media_type: str = "") -> Manifest | Index:
    """By the document's own media type, then by `media_type` (the Content-Type), then by its shape."""
    document = parse_document(data, "the manifest")
    kind = document.get("mediaType") or media_type
    if document.get("schemaVersion") == 1 or str(kind).startswith(_SCHEMA_1):
        raise Unsupported(
            "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed",
            "push the image again with a current tool",
        )
    if kind in (OCI_INDEX, DOCKER_LIST) or "manifests" in document:
        return Index(_descriptors(document, "manifests"))
    layers = _descriptors(document, "layers")
    if len(layers) > MAX_LAYERS:
        raise Unsupported(f"the image has {len(layers)} layers, at most {MAX_LAYERS} are supported")
    return Manifest(_descriptor(document.get("config")), layers)


def choose(index: Index, wanted: Platform) -> Descriptor:
    """The manifest for a platform. Raises NotFound in docker's words."""
    for descriptor in index.manifests:
        if descriptor.platform is not None and wanted.runs(descriptor.platform):
            return descriptor
    if len(index.manifests) == 1 and index.manifests[0].platform is None:
        return index.manifests[0]
    raise NotFound(
        f"no matching manifest for {wanted} in the manifest list entries",
        f"the image is there for {_platforms(index.manifests)}" if index.manifests else "",
    )


def _platforms(descriptors: Sequence[Descriptor]) -> str:
    found = {str(entry.platform) for entry in descriptors if entry.platform and entry.platform.os != "unknown"}
    return ", ".join(sorted(found)) or "no platform"


def _descriptors(document: dict[str, Any], key: str) -> tuple[Descriptor, ...]:
    found = document.get(key)
    if not isinstance(found, list):
        raise PeerMisbehaved(f"the manifest has no list {key!r}")
    return tuple(_descriptor(entry) for entry in found)


def _descriptor(value: Any) -> Descriptor:
    if not isinstance(value, dict):
        raise PeerMisbehaved("the manifest holds a malformed descriptor")
    size = value.get("size")
    if not isinstance(size, int) or size < 0:
        raise PeerMisbehaved("the manifest holds a descriptor without a size")
    try:
        digest = parse_digest(str(value.get("digest")))
    except InvalidArgument as error:
        raise PeerMisbehaved(f"the manifest holds a bad digest: {error.message}") from error
    return Descriptor(str(value.get("mediaType", "")), digest, size, _platform(value.get("platform")))


def _platform(value: Any) -> Platform | None:
    if not isinstance(value, dict):
        return None
    parts = (value.get("os", ""), value.get("architecture", ""), value.get("variant", ""))
    return make_platform(*(str(part) for part in parts))
