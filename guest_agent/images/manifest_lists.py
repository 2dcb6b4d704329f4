"""Manifest lists: one name for the images of several platforms. Blocking.

A list names manifests of its own repository by digest. What is elsewhere in the same registry is taken over first:
its blobs are mounted, its manifest is put under its digest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from guest_agent.images.manifests import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, Index, parse_manifest
from guest_agent.images.reference import Reference, parse_reference
from guest_agent.images.registry import Document, Repository
from guest_agent.images.transport import RegistrySettings, Transport
from guest_agent.images.upload import Uploads
from guest_agent.store.content import digest_of
from guest_agent.wire.errors import InvalidArgument, NotFound
from guest_agent.wire.models import Credentials, Digest, ListEntry


def read_manifest(name: str, settings: RegistrySettings, credentials: Credentials | None) -> Document:
    """A manifest or a list as a registry has it. Raises NotFound, Unauthorized, Unavailable."""
    reference = parse_reference(name).with_default_tag()
    return Repository(Transport(settings), reference, credentials).manifest(reference.digest or reference.tag)


def push_list(
    name: str, entries: Sequence[ListEntry], settings: RegistrySettings, credentials: Credentials | None
) -> Digest:
    """Make the list visible under its name; its digest. Raises HostvmError, with the name as it was before."""
    target = parse_reference(name).with_default_tag()
    sources = {entry: parse_reference(entry.reference) for entry in entries}
    _check_registry(target, list(sources.values()))
    transport = Transport(settings)
    foreign = {source.path for source in sources.values()} - {target.path}
    repository = Repository(transport, target, credentials, foreign)
    for entry, source in sources.items():
        if source.path != target.path:
            _take_over(Repository(transport, source, credentials), repository, transport, source, entry)
    data, media_type = plan_list(entries)
    repository.request(f"manifests/{target.tag}", {"Content-Type": media_type}, data, "PUT").close()
    return digest_of(data)


def _check_registry(target: Reference, sources: Sequence[Reference]) -> None:
    for source in sources:
        if source.domain != target.domain:
            what = "cannot use source images from a different registry than the target image"
            raise InvalidArgument(f"{what}: {source.domain} != {target.domain}")


def _take_over(
    source: Repository, target: Repository, transport: Transport, reference: Reference, entry: ListEntry
) -> None:
    document = source.manifest(entry.digest)
    parsed = parse_manifest(document.data, document.media_type)
    if isinstance(parsed, Index):
        raise InvalidArgument(f"{reference.familiar} is a manifest list")
    uploads = Uploads(target, transport)
    for blob in (parsed.config, *parsed.layers):
        if uploads.find_size(blob.digest) is None and not uploads.mount(blob.digest, reference.path):
            raise NotFound(f"blob {blob.digest} of {reference.familiar} can't be mounted")
    headers = {"Content-Type": entry.media_type}
    target.request(f"manifests/{entry.digest}", headers, document.data, "PUT").close()


def plan_list(entries: Sequence[ListEntry]) -> tuple[bytes, str]:
    """The document and its media type: docker's, unless an entry is of OCI's kind. Pure."""
    is_docker = all(entry.media_type == DOCKER_MANIFEST for entry in entries)
    media_type = DOCKER_LIST if is_docker else OCI_INDEX
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": [_plain(entry) for entry in entries]}
    return json.dumps(document, indent=3).encode(), media_type


def _plain(entry: ListEntry) -> dict[str, Any]:
    system, architecture, variant = entry.platform
    rare = {"os.version": entry.os_version, "os.features": list(entry.os_features), "variant": variant}
    platform = {"architecture": architecture, "os": system, **{key: value for key, value in rare.items() if value}}
    return {"mediaType": entry.media_type, "size": entry.size, "digest": entry.digest, "platform": platform}
