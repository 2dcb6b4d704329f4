"""A pull: manifest -> configuration -> layers, up to three at a time, each unpacked while it arrives.

A layer's way: socket -> sha256 (here) -> pipe -> inflate -> diff id and files (the layer store's helper process). Both
digests are known only at the end, so a layer belongs to nobody until then, and the image to nobody until all are.
Threads do the work; the event loop hands on their progress and records the result.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic

from guest_agent.images.configs import parse_config
from guest_agent.images.contracts import LayerStaging, LayerUnpacker
from guest_agent.images.manifests import Descriptor, Index, Manifest, choose, parse_manifest
from guest_agent.images.platforms import make_platform, parse_platform
from guest_agent.images.progress import BAR_INTERVAL, Progress, bar, line, short, step
from guest_agent.images.provenance import KnownBlob
from guest_agent.images.reference import Reference, parse_reference
from guest_agent.images.registry import Document, Repository
from guest_agent.images.store import ImageStore, NewImage
from guest_agent.images.transport import RegistrySettings, Transport
from guest_agent.wire.errors import NotFound, PeerMisbehaved
from guest_agent.wire.models import Credentials, DiffId, Digest, ImageConfig

#: docker's max-concurrent-downloads.
_CONCURRENT = 3

_Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class _Resolved:
    """What has to be fetched. `listed` is the document that the name stands for: an index, or the manifest."""

    listed: Document
    manifest: Document
    config_data: bytes
    config: ImageConfig
    layers: tuple[tuple[Descriptor, DiffId], ...]


async def pull(
    store: ImageStore,
    name: str,
    platform: str,
    settings: RegistrySettings,
    credentials: Credentials | None = None,
) -> AsyncGenerator[Progress, None]:
    """Pull `name` for `platform` ("" = this machine's); docker's progress objects, to the "Status:" line.

    Raises HostvmError at any point; nothing of the image is visible then. Closing the iterator cancels.
    """
    reference = parse_reference(name).with_default_tag()
    work = _Pull(store, reference, platform, settings, credentials)
    task = asyncio.create_task(work.run())
    try:
        while (progress := await work.progress.get()) is not None:
            yield progress
        await task
    finally:
        work.transport.abort()
        await asyncio.wait([task])
        task.cancelled() or task.exception()  # retrieved: the caller has it, or has gone


class _Pull:
    """One pull's state. `progress` ends with None."""

    def __init__(
        self,
        store: ImageStore,
        reference: Reference,
        platform: str,
        settings: RegistrySettings,
        credentials: Credentials | None,
    ) -> None:
        self.transport = Transport(settings)
        self.progress: asyncio.Queue[Progress | None] = asyncio.Queue()
        self._store = store
        self._reference = reference
        self._wanted = parse_platform(platform)
        self._strict = bool(platform)
        self._repository = Repository(self.transport, reference, credentials)
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        try:
            await self._run()
        finally:
            self.progress.put_nowait(None)

    async def _run(self) -> None:
        tag = self._reference.tag or self._reference.digest
        self.progress.put_nowait({"status": f"Pulling from {self._reference.path}", "id": tag})
        resolved = await asyncio.to_thread(self._resolve)
        known = self._store.has_name(self._reference) == resolved.config.id
        staging = self._store.layers.stage()
        try:
            await self._fetch_layers(resolved, staging)
            await self._store.add(self._new_image(resolved), staging)
        finally:
            await asyncio.to_thread(staging.close)
        self._finish(resolved.listed.digest, known)

    def _finish(self, digest: Digest, known: bool) -> None:
        self.progress.put_nowait(line(f"Digest: {digest}"))
        status = "Image is up to date for" if known else "Downloaded newer image for"
        self.progress.put_nowait(line(f"Status: {status} {self._reference.familiar}"))

    def _new_image(self, resolved: _Resolved) -> NewImage:
        digest = resolved.listed.digest
        tags = (self._reference.tagged(),) if self._reference.tag else ()
        return NewImage(
            config=resolved.config_data,
            names=(*tags, self._reference.digested(digest)),
            manifest=resolved.manifest.data,
            manifest_digest=digest,
            blobs={
                diff_id: KnownBlob(layer.digest, layer.size, layer.media_type, self._reference.name)
                for layer, diff_id in resolved.layers
            },
        )

    # -- in a thread

    def _resolve(self) -> _Resolved:
        listed = self._repository.manifest(self._reference.digest or self._reference.tag)
        document, parsed = listed, parse_manifest(listed.data, listed.media_type)
        if isinstance(parsed, Index):
            document = self._repository.manifest(choose(parsed, self._wanted).digest)
            parsed = parse_manifest(document.data, document.media_type)
        if not isinstance(parsed, Manifest):
            raise PeerMisbehaved("the manifest list's entry is a list again")
        data = self._repository.document(parsed.config)
        config = parse_config(data)
        self._check_platform(config)
        if len(config.diff_ids) != len(parsed.layers):
            raise PeerMisbehaved("layers from manifest don't match image configuration")
        pairs = tuple(zip(parsed.layers, config.diff_ids, strict=True))
        return _Resolved(listed, document, data, config, pairs)

    def _check_platform(self, config: ImageConfig) -> None:
        """A single manifest is taken as it is unless a platform was asked for, as docker does."""
        found = make_platform(config.os or "linux", config.architecture or self._wanted.architecture, config.variant)
        if found.os != "linux" or (self._strict and not self._wanted.runs(found)):
            raise NotFound(
                f"image with reference {self._reference.familiar} was found but its platform ({found}) "
                f"does not match the specified platform ({self._wanted})"
            )

    # -- layers

    async def _fetch_layers(self, resolved: _Resolved, staging: LayerStaging) -> None:
        """All of them, or the first error; no thread is left behind."""
        missing = self._missing(resolved.layers, staging)
        with ThreadPoolExecutor(_CONCURRENT, "pull") as pool:
            works = [self._loop.run_in_executor(pool, _LayerWork(self, staging, *pair).run) for pair in missing.items()]
            if not works:
                return
            try:
                await asyncio.gather(*works)
            except BaseException:
                self.transport.abort()
                for work in works:
                    work.cancel()
                await asyncio.to_thread(pool.shutdown, True, cancel_futures=True)
                raise

    def _missing(self, layers: Sequence[tuple[Descriptor, DiffId]], staging: LayerStaging) -> dict[Descriptor, DiffId]:
        """Each missing layer once; says of all what will become of them."""
        missing = {}
        for descriptor, diff_id in layers:
            if staging.reuse(diff_id):
                self.progress.put_nowait(step("Already exists", short(descriptor.digest)))
            elif descriptor not in missing:
                self.progress.put_nowait(step("Pulling fs layer", short(descriptor.digest)))
                missing[descriptor] = diff_id
        return missing

    def report(self, progress: Progress) -> None:
        """From any thread."""
        self._loop.call_soon_threadsafe(self.progress.put_nowait, progress)

    def blob(self, descriptor: Descriptor) -> _Blob:
        return _Blob(self._repository, descriptor, self.report)


class _Blob:
    """A blob on its way, hashed and with its bar."""

    def __init__(self, repository: Repository, descriptor: Descriptor, report: _Report) -> None:
        self._chunks = repository.blob(descriptor)
        self._descriptor = descriptor
        self._report = report
        self._hash = hashlib.sha256()
        self._next_bar = 0.0
        self.received = 0

    def read(self) -> bytes:
        """The next piece, b"" at the end, when the digest has been verified."""
        data = next(self._chunks, b"")
        if not data:
            self._verify()
            return b""
        self._hash.update(data)
        self.received += len(data)
        self._show("Downloading")
        return data

    def drain(self) -> None:
        """Read to the end for the digest's sake."""
        while self.read():
            pass

    def close(self) -> None:
        self._chunks.close()

    def _verify(self) -> None:
        if f"sha256:{self._hash.hexdigest()}" != self._descriptor.digest:
            raise PeerMisbehaved(f"filesystem layer verification failed for digest {self._descriptor.digest}")

    def _show(self, status: str) -> None:
        if (now := monotonic()) >= self._next_bar:
            self._next_bar = now + BAR_INTERVAL
            self._report(bar(status, short(self._descriptor.digest), self.received, self._descriptor.size))


class _LayerWork:
    """One layer from the socket into the staging, in a thread."""

    def __init__(self, work: _Pull, staging: LayerStaging, descriptor: Descriptor, diff_id: DiffId) -> None:
        self._work = work
        self._staging = staging
        self._descriptor = descriptor
        self._diff_id = diff_id
        self._name = short(descriptor.digest)

    def run(self) -> None:
        unpacker = self._staging.unpacker()
        blob = self._work.blob(self._descriptor)
        try:
            self._stream(blob, unpacker)
        finally:
            blob.close()
            unpacker.abort()

    def _stream(self, blob: _Blob, unpacker: LayerUnpacker) -> None:
        while data := blob.read():
            try:
                unpacker.write(data)
            except PeerMisbehaved:
                blob.drain()  # a wrong digest is the better explanation for what can't be unpacked
                raise
        size = self._descriptor.size
        self._work.report(step("Verifying Checksum", self._name))
        self._work.report(step("Download complete", self._name))
        self._work.report(bar("Extracting", self._name, size, size))
        found = unpacker.finish()
        if found != self._diff_id:
            raise PeerMisbehaved(
                f"layers from manifest don't match image configuration: layer {self._descriptor.digest} "
                f"unpacks to {found}, not to {self._diff_id}"
            )
        self._work.report(step("Pull complete", self._name))
