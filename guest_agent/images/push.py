"""A push: layers, up to three at a time, then the configuration, then the manifest, which makes it visible.

A layer's way: does the registry have one of the blobs that we know it by? Can one be mounted from a repository that
has it? Else: outline -> tar -> compression -> sha256 -> socket, in pieces; nothing is written to our disk. An image
that was pulled, and whose blobs are all there, gets the manifest that it came with, so that its digest stays.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic
from typing import Any

from guest_agent.images.artefacts import Artefact, send_artefact
from guest_agent.images.compress import Compression, compressed
from guest_agent.images.manifests import (
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    parse_manifest,
)
from guest_agent.images.progress import BAR_INTERVAL, Progress, bar, line, short, step
from guest_agent.images.provenance import KnownBlob
from guest_agent.images.reference import Reference
from guest_agent.images.registry import Repository
from guest_agent.images.store import ImageStore
from guest_agent.images.transfers import follow
from guest_agent.images.transport import RegistrySettings, Transport
from guest_agent.images.upload import Uploads
from guest_agent.store.content import digest_of
from guest_agent.wire.errors import HostvmError, NotFound, PeerMisbehaved
from guest_agent.wire.models import Credentials, DiffId, Digest, Image

_CONCURRENT = 3


@dataclass(frozen=True, slots=True)
class _Layer:
    diff_id: DiffId
    known: tuple[KnownBlob, ...]


async def push(
    store: ImageStore,
    name: Reference,
    settings: RegistrySettings,
    credentials: Credentials | None = None,
    compression: Compression = Compression.GZIP,
) -> AsyncGenerator[Progress, None]:
    """Push a tag, or without one all tags of the repository; docker's progress objects.

    Raises HostvmError at any point. Closing the iterator cancels.
    """
    yield line(f"The push refers to repository [{name.name}]")
    tags = store.names.tags_in(name)
    if not tags:
        raise NotFound(f"An image does not exist locally with the tag: {name.familiar_name}")
    if name.tag and name not in tags:
        raise NotFound(f"tag does not exist: {name.familiar}")
    for tag in (name,) if name.tag else tags:
        async with aclosing(follow(_Push(store, tag, settings, credentials, compression))) as progress:
            async for report in progress:
                yield report


class _Push:
    """One tag's push. `progress` ends with None."""

    def __init__(
        self,
        store: ImageStore,
        name: Reference,
        settings: RegistrySettings,
        credentials: Credentials | None,
        compression: Compression,
    ) -> None:
        self.transport = Transport(settings)
        self.progress: asyncio.Queue[Progress | None] = asyncio.Queue()
        self._store = store
        self._name = name
        self._image = store.find(name.canonical)
        self._compression = compression
        layers = store.layers
        self._layers = [_Layer(one, store.provenance.blobs(one)) for one in self._image.config.diff_ids]
        sources = {blob.repository for layer in self._layers for blob in layer.known}
        here = f"{name.domain}/"
        self._sources = sorted(one.removeprefix(here) for one in sources if one.startswith(here) and one != name.name)
        self._repository = Repository(self.transport, name, credentials, self._sources)
        self._uploads = Uploads(self._repository, self.transport)
        self._staging = layers.stage()
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        try:
            await self._run()
        finally:
            await asyncio.to_thread(self._staging.close)
            self.progress.put_nowait(None)

    async def _run(self) -> None:
        for layer in self._layers:
            if not self._staging.reuse(layer.diff_id):
                raise NotFound(f"layer {layer.diff_id} is missing")
            self.progress.put_nowait(step("Preparing", short(layer.diff_id)))
        config = self._store.config_data(self._image.config.id)
        kept = self._store.manifest_data(self._image.config.id)
        attachments = self._store.records.attachments(self._image.config.id)
        blobs = await self._send_layers()
        for layer, blob in zip(self._layers, blobs, strict=True):
            self._store.provenance.add(layer.diff_id, blob)
        data, media_type = plan_manifest(self._image, len(config), blobs, kept)
        digest = await asyncio.to_thread(self._send_documents, config, data, media_type)
        subject = Descriptor(media_type, digest, len(data))
        await asyncio.to_thread(self._send_attachments, attachments, subject)
        self._store.note_digest(self._image.config.id, self._name.digested(digest))
        self.progress.put_nowait(line(f"{self._name.tag}: digest: {digest} size: {len(data)}"))
        self.progress.put_nowait(
            {"progressDetail": {}, "aux": {"Tag": self._name.tag, "Digest": digest, "Size": len(data)}}
        )

    async def _send_layers(self) -> list[KnownBlob]:
        """Each layer once, or the first error; no thread is left behind."""
        await asyncio.to_thread(self._check_access)
        wanted = list({layer.diff_id: layer for layer in self._layers}.values())
        with ThreadPoolExecutor(_CONCURRENT, "push") as pool:
            works = [self._loop.run_in_executor(pool, self._send_layer, layer) for layer in wanted]
            try:
                sent = dict(zip((layer.diff_id for layer in wanted), await asyncio.gather(*works), strict=True))
            except BaseException:
                self.transport.abort()
                for work in works:
                    work.cancel()
                await asyncio.to_thread(pool.shutdown, True, cancel_futures=True)
                raise
        return [sent[layer.diff_id] for layer in self._layers]

    # -- in a thread

    def _check_access(self) -> None:
        """One request before the others: it finds the endpoint, and gets the token that they share."""
        self._uploads.find_size(Digest(self._image.config.id))

    def _send_layer(self, layer: _Layer) -> KnownBlob:
        label = short(layer.diff_id)
        for blob in layer.known:
            if self._suits(blob) and self._uploads.find_size(blob.digest) is not None:
                self._report(step("Layer already exists", label))
                return self._known(blob.digest, blob.size, blob.media_type)
        for blob in layer.known:
            domain, _, path = blob.repository.partition("/")
            if domain == self._name.domain and self._suits(blob) and self._uploads.mount(blob.digest, path):
                self._report(step(f"Mounted from {path}", label))
                return self._known(blob.digest, blob.size, blob.media_type)
        return self._upload(layer, label)

    def _upload(self, layer: _Layer, label: str) -> KnownBlob:
        total = self._store.layers.tar_size(layer.diff_id)
        next_bar = 0.0

        def source() -> Iterator[bytes]:
            return compressed(counted(), self._compression)

        def counted() -> Iterator[bytes]:
            nonlocal next_bar
            passed = 0
            for piece in self._store.layers.tar(layer.diff_id):
                passed += len(piece)
                if (now := monotonic()) >= next_bar:
                    next_bar = now + BAR_INTERVAL
                    self._report(bar("Pushing", label, passed, total))
                yield piece

        sent = self._uploads.send(source, lambda _passed: None)
        self._report(step("Pushed", label))
        return self._known(sent.digest, sent.size, self._compression.media_type)

    def _suits(self, blob: KnownBlob) -> bool:
        """Where zstd is asked for, a blob of another kind isn't it."""
        return self._compression is Compression.GZIP or blob.media_type == self._compression.media_type

    def _known(self, digest: Digest, size: int, media_type: str) -> KnownBlob:
        return KnownBlob(digest, size, media_type, self._name.name)

    def _send_documents(self, config: bytes, manifest: bytes, media_type: str) -> Digest:
        digest = digest_of(config)
        if self._uploads.find_size(digest) is None:
            self._uploads.send_small(config, digest)
        path = f"manifests/{self._name.tag}"
        with self._repository.request(path, {"Content-Type": media_type}, manifest, "PUT") as response:
            claimed = response.headers.get("Docker-Content-Digest", "")
        found = digest_of(manifest)
        if claimed.startswith("sha256:") and claimed != found:
            raise PeerMisbehaved(f"the registry stored the manifest as {claimed}, not as {found}")
        return found

    def _send_attachments(self, attachments: Sequence[tuple[str, Digest]], subject: Descriptor) -> None:
        """The image is there already: what can't follow it is no failure of the push."""
        for kind, stored in attachments:
            try:
                document = self._store.records.attachment(stored)
                digest = send_artefact(self._repository, self._uploads, Artefact(kind, document, subject))
            except HostvmError as error:
                self._report(line(f"warning: the {kind} beside the image isn't pushed: {error.message}"))
            else:
                self._report(line(f"{kind}: digest: {digest} size: {len(document)}"))

    def _report(self, progress: Progress) -> None:
        self._loop.call_soon_threadsafe(self.progress.put_nowait, progress)


def plan_manifest(image: Image, config_size: int, blobs: Sequence[KnownBlob], kept: bytes) -> tuple[bytes, str]:
    """The manifest and its media type: the one that the image came with, if it names these very blobs. Pure."""
    digests = [blob.digest for blob in blobs]
    try:
        parsed = parse_manifest(kept) if kept else None
    except HostvmError:
        parsed = None
    if isinstance(parsed, Manifest) and [layer.digest for layer in parsed.layers] == digests:
        return kept, str(json.loads(kept).get("mediaType") or OCI_MANIFEST)
    docker = all("vnd.docker" in blob.media_type for blob in blobs)
    media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
    config = Descriptor(DOCKER_CONFIG if docker else OCI_CONFIG, Digest(image.config.id), config_size)
    layers = [Descriptor(_layer_type(blob, docker), blob.digest, blob.size) for blob in blobs]
    return _encode(media_type, config, layers), media_type


def _layer_type(blob: KnownBlob, docker: bool) -> str:
    """An OCI manifest takes no docker types: the same content by its OCI name."""
    if docker or "vnd.docker" not in blob.media_type:
        return blob.media_type
    return "application/vnd.oci.image.layer.v1.tar+gzip"


def _encode(media_type: str, config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """Spaced as docker writes it, so that the same blobs have the same digest there and here."""
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": _plain(config),
        "layers": [_plain(layer) for layer in layers],
    }
    return json.dumps(document, indent=3).encode()


def _plain(descriptor: Descriptor) -> dict[str, Any]:
    return {"mediaType": descriptor.media_type, "size": descriptor.size, "digest": descriptor.digest}
