"""A pull: manifest -> configuration -> layers (images.downloads), each unpacked while it arrives.

The image belongs to nobody until all of its layers are there. Threads do the work; the event loop hands on their
progress and records the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from guest_agent.images.configs import parse_config
from guest_agent.images.contracts import LayerStaging
from guest_agent.images.manifests import Descriptor, Index, Manifest, choose, parse_manifest
from guest_agent.images.platforms import make_platform, parse_platform
from guest_agent.images.progress import Progress, line, short, step
from guest_agent.images.provenance import KnownBlob
from guest_agent.images.reference import Reference, parse_reference
from guest_agent.images.registry import Document, Repository
from guest_agent.images.store import ImageStore, NewImage
from guest_agent.images.transfers import follow
from guest_agent.images.transport import RegistrySettings, Transport
from guest_agent.wire.errors import HostFailed, NotFound, PeerMisbehaved
from guest_agent.wire.models import Credentials, DiffId, Digest, ImageConfig


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
    *,
    strict: bool = False,
) -> AsyncGenerator[Progress, None]:
    """Pull `name` for `platform` ("" = this machine's); docker's progress objects, to the "Status:" line.

    Where the registry has a single image of another platform that is a warning behind it, or with `strict` an error.
    A tag beside a digest says nothing. Raises HostvmError at any point; nothing of the image is visible then. Closing
    the iterator cancels.
    """
    parsed = parse_reference(name).with_default_tag()
    reference = parsed.digested(Digest(parsed.digest)) if parsed.digest else parsed
    work = _Pull(store, reference, platform, settings, credentials, strict)
    async with aclosing(follow(work)) as progress:
        async for report in progress:
            yield report
    yield _status(reference, work.is_news)
    if work.mismatch:
        yield line(f"WARNING: {work.mismatch}")


async def pull_tags(
    store: ImageStore,
    repository: Reference,
    tags: Sequence[str],
    platform: str,
    settings: RegistrySettings,
    credentials: Credentials | None = None,
) -> AsyncGenerator[Progress, None]:
    """Pull one tag of a repository after the other, as `pull` does, with one "Status:" line for all."""
    is_news = False
    for tag in tags:
        work = _Pull(store, replace(repository, tag=tag), platform, settings, credentials)
        async with aclosing(follow(work)) as progress:
            async for report in progress:
                yield report
        is_news |= work.is_news
    yield _status(repository, is_news)


def _status(reference: Reference, is_news: bool) -> Progress:
    status = "Downloaded newer image for" if is_news else "Image is up to date for"
    return line(f"Status: {status} {reference.familiar}")


class _Pull:
    """One pull's state. `progress` ends with None; then `is_news` says whether the name means another image now."""

    def __init__(
        self,
        store: ImageStore,
        reference: Reference,
        platform: str,
        settings: RegistrySettings,
        credentials: Credentials | None,
        strict: bool = False,
    ) -> None:
        self.transport = Transport(settings)
        self.progress: asyncio.Queue[Progress | None] = asyncio.Queue()
        self.is_news = False
        self.mismatch = ""  #: how the image isn't of the platform that was asked for
        self._store = store
        self._reference = reference
        self._wanted = parse_platform(platform)
        self._asked = bool(platform)
        self._strict = strict
        self._repository = Repository(self.transport, reference, credentials)

    async def run(self) -> None:
        try:
            await self._run()
        finally:
            self.progress.put_nowait(None)

    async def _run(self) -> None:
        reference = self._reference
        name = f"{reference.name}@{reference.digest}" if reference.digest else reference.tag
        listed = await asyncio.to_thread(self._repository.manifest, reference.digest or reference.tag)
        # Not before: as long as nothing was reported, what is missing or refused has an HTTP status of its own.
        self.progress.put_nowait({"status": f"Pulling from {reference.path}", "id": name})
        resolved = await asyncio.to_thread(self._resolve, listed)
        self.is_news = self._store.names.find(self._reference) != resolved.config.id
        staging = self._store.layers.stage()
        keep = self.transport.settings.keep_finished
        try:
            await self._fetch_layers(resolved, staging)
            await self._store.add(self._new_image(resolved), staging)
            keep = 0.0
        except HostFailed:
            keep = 0.0  # the disk may be full
            raise
        finally:
            self._store.downloads.release([diff_id for _descriptor, diff_id in resolved.layers], keep)
            await asyncio.to_thread(staging.close)
        self.progress.put_nowait(line(f"Digest: {listed.digest}"))

    def _new_image(self, resolved: _Resolved) -> NewImage:
        digest = resolved.listed.digest
        tags = (self._reference.tagged(),) if self._reference.tag else ()
        return NewImage(
            config=resolved.config_data,
            names=(*tags, self._reference.digested(digest)),
            manifest=resolved.manifest.data,
            manifest_digest=digest,
            tagged=False,
            blobs={
                diff_id: KnownBlob(layer.digest, layer.size, layer.media_type, self._reference.name)
                for layer, diff_id in resolved.layers
            },
        )

    # -- in a thread

    def _resolve(self, listed: Document) -> _Resolved:
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
        """A single manifest is taken as it is, as docker does. Raises NotFound where it can't be, or is `strict`."""
        found = make_platform(config.os or "linux", config.architecture or self._wanted.architecture, config.variant)
        if found.os == "linux" and (not self._asked or self._wanted.runs(found)):
            return
        self.mismatch = (
            f"image with reference {self._reference.canonical} was found but its platform ({found}) "
            f"does not match the specified platform ({self._wanted})"
        )
        if self._strict or found.os != "linux":
            raise NotFound(self.mismatch)

    # -- layers

    async def _fetch_layers(self, resolved: _Resolved, staging: LayerStaging) -> None:
        """All of them, or the first error; nothing goes on behind its back then."""
        missing = self._missing(resolved.layers, staging, tell_of_reused=not self._store.has(resolved.config.id))
        downloads, settings = self._store.downloads, self.transport.settings
        report = self.progress.put_nowait
        works = [
            asyncio.ensure_future(downloads.fetch(self._repository, settings, layer, staging, report))
            for layer in missing.items()
        ]
        try:
            await asyncio.gather(*works)
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)

    def _missing(
        self, layers: Sequence[tuple[Descriptor, DiffId]], staging: LayerStaging, tell_of_reused: bool
    ) -> dict[Descriptor, DiffId]:
        """Each missing layer once; says of all what will become of them.

        `tell_of_reused`: docker is silent about the layers of an image that it has.
        """
        missing = {}
        for descriptor, diff_id in layers:
            if staging.reuse(diff_id):
                if tell_of_reused:
                    self.progress.put_nowait(step("Already exists", short(descriptor.digest)))
            elif descriptor not in missing:
                self.progress.put_nowait(step("Pulling fs layer", short(descriptor.digest)))
                missing[descriptor] = diff_id
        return missing
