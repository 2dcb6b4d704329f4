"""Layers on their way in: each is fetched once, however many pulls wait for it, three at a time.

A layer's way: socket -> sha256 (here) -> pipe -> inflate -> diff id and files (the layer store's helper process). Both
digests are known only at the end, so a layer belongs to nobody until then.

A download lives as long as somebody waits for it, whoever began it; it has connections of its own. One that failed is
begun again by those that wait and have other credentials, or another registry. What a pull that failed had finished is
kept for a while (RegistrySettings.keep_finished), so that the next attempt doesn't fetch it again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from guest_agent.images.contracts import ImageLayers, LayerStaging, LayerUnpacker
from guest_agent.images.manifests import Descriptor
from guest_agent.images.progress import BAR_INTERVAL, Progress, bar, short, step
from guest_agent.images.registry import Repository
from guest_agent.images.transport import RegistrySettings, Transport
from guest_agent.wire.errors import HostvmError, PeerMisbehaved
from guest_agent.wire.models import DiffId

#: docker's max-concurrent-downloads.
_CONCURRENT = 3

Report = Callable[[Progress], None]


class Downloads:
    """All of an engine's. Belongs to the main thread."""

    def __init__(self, layers: ImageLayers) -> None:
        self._layers = layers
        self._pool = ThreadPoolExecutor(_CONCURRENT, "download")
        self._running: dict[DiffId, _Download] = {}
        self._finished: dict[DiffId, LayerStaging] = {}

    async def fetch(
        self,
        repository: Repository,
        settings: RegistrySettings,
        layer: tuple[Descriptor, DiffId],
        staging: LayerStaging,
        report: Report,
    ) -> None:
        """The layer belongs to `staging` on return. Raises HostvmError; cancelled, it leaves nothing behind."""
        descriptor, diff_id = layer
        while not staging.reuse(diff_id):
            download = self._running.get(diff_id)
            is_mine = download is None
            if download is None:
                download = self._begin(repository, settings, descriptor, diff_id)
            try:
                await download.wait(report)
            except HostvmError:
                if is_mine:
                    raise

    def release(self, diff_ids: Iterable[DiffId], after: float = 0.0) -> None:
        """An image has them, or the attempt has failed: they needn't be kept, or for `after` seconds only."""
        loop = asyncio.get_running_loop()
        for diff_id in diff_ids:
            staging = self._finished.get(diff_id)
            if staging is not None and after:
                loop.call_later(after, self._forget, diff_id, staging)
            elif staging is not None:
                self._forget(diff_id, staging)

    def _begin(
        self, repository: Repository, settings: RegistrySettings, descriptor: Descriptor, diff_id: DiffId
    ) -> _Download:
        transport = Transport(settings)
        download = _Download(transport, self._layers.stage())
        work = _LayerWork(repository.through(transport), download, descriptor, diff_id)
        self._running[diff_id] = download
        download.start(self._run(download, work, diff_id))
        return download

    async def _run(self, download: _Download, work: _LayerWork, diff_id: DiffId) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._pool, work.run)
        except BaseException:
            await asyncio.to_thread(download.staging.close)
            raise
        else:
            self._finished[diff_id] = download.staging
        finally:
            del self._running[diff_id]

    def _forget(self, diff_id: DiffId, staging: LayerStaging) -> None:
        if self._finished.get(diff_id) is staging:
            del self._finished[diff_id]
            asyncio.get_running_loop().run_in_executor(None, staging.close)


class _Download:
    """One layer, and those that wait for it."""

    def __init__(self, transport: Transport, staging: LayerStaging) -> None:
        self.staging = staging
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._watchers: list[Report] = []
        self._task: asyncio.Task[None]

    def start(self, work: Coroutine[object, object, None]) -> None:
        self._task = self._loop.create_task(work)

    async def wait(self, report: Report) -> None:
        """To its end. Raises what it failed with. Who leaves last ends it."""
        self._watchers.append(report)
        try:
            await asyncio.wait([self._task])
        finally:
            self._watchers.remove(report)
            if not self._watchers and not self._task.done():
                self._transport.abort()
                await asyncio.wait([self._task])
                self._task.exception()  # retrieved: nobody else wants it
        self._task.result()

    def report(self, progress: Progress) -> None:
        """From any thread."""
        self._loop.call_soon_threadsafe(self._tell, progress)

    def _tell(self, progress: Progress) -> None:
        for report in self._watchers:
            report(progress)


class _Blob:
    """A blob on its way, hashed and with its bar."""

    def __init__(self, repository: Repository, descriptor: Descriptor, report: Report) -> None:
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

    def __init__(self, repository: Repository, download: _Download, descriptor: Descriptor, diff_id: DiffId) -> None:
        self._repository = repository
        self._staging = download.staging
        self._report = download.report
        self._descriptor = descriptor
        self._diff_id = diff_id
        self._name = short(descriptor.digest)

    def run(self) -> None:
        unpacker = self._staging.unpacker()
        blob = _Blob(self._repository, self._descriptor, self._report)
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
        self._report(step("Verifying Checksum", self._name))
        self._report(step("Download complete", self._name))
        self._report(bar("Extracting", self._name, size, size))
        found = unpacker.finish()
        if found != self._diff_id:
            raise PeerMisbehaved(
                f"layers from manifest don't match image configuration: layer {self._descriptor.digest} "
                f"unpacks to {found}, not to {self._diff_id}"
            )
        self._report(step("Pull complete", self._name))
