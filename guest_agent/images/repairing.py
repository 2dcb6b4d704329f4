"""What was lost of an image, fetched again from where it came from.

Without credentials: there is no client that could have sent some. A registry that wants them can't help here.
"""

from __future__ import annotations

import asyncio

from guest_agent.images.manifests import Descriptor, Index, choose, parse_manifest
from guest_agent.images.platforms import host_platform
from guest_agent.images.reference import parse_reference
from guest_agent.images.registry import Repository
from guest_agent.images.store import ImageStore
from guest_agent.images.transport import RegistrySettings, Transport
from guest_agent.wire.errors import HostvmError, NotFound, PeerMisbehaved
from guest_agent.wire.models import DiffId, Digest, ImageId


async def fetch_layer(store: ImageStore, diff_id: DiffId, settings: RegistrySettings) -> str:
    """Put a layer that is known, and whose folder is gone, in its place again; says where it came from.

    Raises the last HostvmError where no registry has it.
    """
    problem: HostvmError = NotFound("no registry is known to have it")
    for blob in store.provenance.blobs(diff_id):
        repository = Repository(Transport(settings), parse_reference(blob.repository), None)
        staging = store.layers.stage()
        try:
            layer = (Descriptor(blob.media_type, blob.digest, blob.size), diff_id)
            await store.downloads.fetch(repository, settings, layer, staging, lambda _progress: None)
            await store.record_layers(staging)
        except HostvmError as error:
            problem = error
        else:
            return blob.repository
        finally:
            store.downloads.release([diff_id])
            await asyncio.to_thread(staging.close)
    raise problem


async def fetch_documents(store: ImageStore, image_id: ImageId, settings: RegistrySettings) -> str:
    """Configuration and manifest; says where they came from. Raises the last HostvmError."""
    problem: HostvmError = NotFound("no registry is known to have it")
    for name in (name for name in store.names.recorded(image_id) if name.digest):
        repository = Repository(Transport(settings), name, None)
        try:
            documents = await asyncio.to_thread(_documents, repository, Digest(name.digest), image_id)
            await asyncio.to_thread(store.restore_documents, *documents)
        except HostvmError as error:
            problem = error
        else:
            return name.name
    raise problem


def _documents(repository: Repository, digest: Digest, image_id: ImageId) -> tuple[bytes, bytes]:
    document = repository.manifest(digest)
    parsed = parse_manifest(document.data, document.media_type)
    if isinstance(parsed, Index):
        document = repository.manifest(choose(parsed, host_platform()).digest)
        parsed = parse_manifest(document.data, document.media_type)
    if isinstance(parsed, Index) or parsed.config.digest != Digest(image_id):
        raise PeerMisbehaved("the registry has another image under this name")
    return repository.document(parsed.config), document.data
