"""A document beside an image in a registry: an artefact whose *subject* is the image's manifest. Blocking.

image-spec 1.1, manifest.md ("guidelines for artifact usage"), and distribution-spec 1.1, "pushing manifests with
subject": a registry that knows subjects says so in the header OCI-Subject, and lists them at /referrers/DIGEST. For any
other the client keeps an index of them under the *referrers tag* of the subject, `sha256-HEX`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from guest_agent.images.manifests import OCI_INDEX, OCI_MANIFEST, Descriptor, parse_document
from guest_agent.images.registry import Repository
from guest_agent.images.upload import Uploads
from guest_agent.store.content import digest_of
from guest_agent.wire.errors import NotFound, PeerMisbehaved
from guest_agent.wire.models import Digest

_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_EMPTY = b"{}"
_REFERRERS_TAG = re.compile(r"sha256-[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Artefact:
    """`subject` is the image's manifest in the same repository."""

    media_type: str
    document: bytes
    subject: Descriptor


def is_referrers_tag(tag: str) -> bool:
    """Whether it names what belongs to an image, and no image."""
    return _REFERRERS_TAG.fullmatch(tag) is not None


def send_artefact(repository: Repository, uploads: Uploads, artefact: Artefact) -> Digest:
    """The manifest's digest; again is no error. Raises what registries are refused for, with nothing listed then."""
    for data in (_EMPTY, artefact.document):
        if uploads.find_size(digest_of(data)) is None:
            uploads.send_small(data, digest_of(data))
    manifest = plan_artefact(artefact)
    digest = digest_of(manifest)
    if not _put(repository, digest, OCI_MANIFEST, manifest):
        tag = artefact.subject.digest.replace(":", "-")
        listed = Descriptor(OCI_MANIFEST, digest, len(manifest))
        _put(repository, tag, OCI_INDEX, plan_referrers(_read_referrers(repository, tag), listed, artefact.media_type))
    return digest


def _put(repository: Repository, name: str, media_type: str, data: bytes) -> bool:
    """Whether the registry lists the subject's artefacts itself."""
    with repository.request(f"manifests/{name}", {"Content-Type": media_type}, data, "PUT") as response:
        return "OCI-Subject" in response.headers


def _read_referrers(repository: Repository, tag: str) -> bytes:
    try:
        return repository.manifest(tag).data
    except NotFound:
        return b"{}"


def plan_artefact(artefact: Artefact) -> bytes:
    """The same document beside the same image gives the same bytes. Pure."""
    return _encode({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artefact.media_type,
        "config": _describe(Descriptor(_EMPTY_TYPE, digest_of(_EMPTY), len(_EMPTY))),
        "layers": [_describe(Descriptor(artefact.media_type, digest_of(artefact.document), len(artefact.document)))],
        "subject": _describe(artefact.subject),
    })  # fmt: skip


def plan_referrers(index: bytes, manifest: Descriptor, artefact_type: str) -> bytes:
    """The index under a referrers tag with one artefact more. Pure. Raises PeerMisbehaved."""
    what = "the index of an image's artefacts"
    known = parse_document(index, what).get("manifests") or []
    if not isinstance(known, list) or not all(isinstance(entry, dict) for entry in known):
        raise PeerMisbehaved(f"{what} holds no list of descriptors")
    others = [entry for entry in known if entry.get("digest") != manifest.digest]
    entries = [*others, {**_describe(manifest), "artifactType": artefact_type}]
    return _encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})


def _describe(descriptor: Descriptor) -> dict[str, Any]:
    return {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}


def _encode(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
