"""Where COPY and ADD take their files from: the context, a stage, an image, the web, or the Dockerfile itself."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from functools import partial

from guest_agent.build.instructions import Copy
from guest_agent.build.planning import SCRATCH, Origin, PlannedStage
from guest_agent.build.reading import Heredoc
from guest_agent.build.selecting import Item, Selection, select, select_everything
from guest_agent.build.snapshots import Snapshot
from guest_agent.build.trees import ContextTree, Entry, FolderTree, Tree, TreeReader
from guest_agent.engine.build_bases import find_image
from guest_agent.engine.build_context import read_tree
from guest_agent.engine.build_roots import build_root
from guest_agent.engine.build_session import BuildSession
from guest_agent.engine.build_web import Download, is_url
from guest_agent.engine.git_authorization import find_authorization
from guest_agent.store.inflate import InflateError, open_inflater
from guest_agent.store.tar import TarDecoder, TarError
from guest_agent.store.threads import finish_in_thread, open_in_thread
from guest_agent.wire.errors import HostvmError, InvalidArgument, NotFound
from guest_agent.wire.git_sources import is_git
from guest_agent.wire.models import DiffId

_BLOCK = 512
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Batch:
    """Files of one tree. `unpacks`: archives among them are taken apart; `unpacked`: this one was."""

    tree: Tree
    selection: Selection
    unpacks: bool = False
    unpacked: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """A COPY or ADD with its variables replaced."""

    copy: Copy
    sources: tuple[str, ...]
    excludes: tuple[str, ...]
    heredocs: tuple[tuple[str, str], ...]  #: name and content
    checksum: str = ""


def expand_sources(snapshot: Snapshot, copy: Copy) -> Wanted:
    """Raises DockerfileError."""
    state, line = snapshot.state, copy.line
    heredocs = tuple((one.name, _heredoc_text(snapshot, copy, one)) for one in copy.heredocs)
    sources = tuple(state.expand(line, source) for source in copy.sources)
    checksum = state.expand(line, copy.checksum) if copy.checksum else ""
    if checksum:
        _check_has_checksum(copy, sources)
    return Wanted(copy, sources, tuple(state.expand(line, one) for one in copy.excludes), heredocs, checksum)


def _check_has_checksum(copy: Copy, sources: Sequence[str]) -> None:
    """In BuildKit's words: one file of the web has it, nothing else."""
    if len(sources) + len(copy.heredocs) != 1:
        raise copy.line.fail("checksum can't be specified for multiple sources")
    if is_git(sources[0]) or not is_url(sources[0]):
        raise copy.line.fail("checksum can't be specified for non-HTTP(S) sources")


def _heredoc_text(snapshot: Snapshot, copy: Copy, heredoc: Heredoc) -> str:
    """Variables are replaced; quotes stay, since a heredoc's text has none that mean something."""
    return snapshot.state.expand(copy.line, heredoc.text, quotes=False) if heredoc.expands else heredoc.text


def source_key(wanted: Wanted, whole: Sequence[str]) -> str:
    """What files are known by without a look at them. `whole` stands for all that there are: layers, or a context."""
    text = repr((tuple(whole), wanted.sources, wanted.excludes, wanted.copy.parents, wanted.heredocs))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class Origins:
    """Opens trees for one step; `close` unmounts and drops what was opened."""

    def __init__(self, session: BuildSession, planned: PlannedStage) -> None:
        self._session = session
        self._planned = planned
        self._undo = AsyncExitStack()
        self._trees: dict[str, Tree] = {}
        self._remote: dict[str, Batch] = {}

    async def close(self) -> None:
        await self._undo.aclose()

    async def layers(self, name: str) -> tuple[DiffId, ...] | None:
        """The layers of a `from`; None where it is a context."""
        origin = self._find(name)
        if origin.stage is not None:
            return (await self._session.done[origin.stage]).diff_ids
        image = self._session.request.named_images.get(origin.context, origin.image)
        if not image:
            return None
        if image == SCRATCH:
            return ()
        try:
            return (await find_image(self._session, self._planned.stage.index, image)).diff_ids
        except HostvmError as error:
            raise type(error)(f"invalid from flag value {name}: {error.message}", error.hint) from error

    async def open(self, name: str) -> Tree:
        """The tree of a `from`; "" is the context."""
        if not name:
            return self._session.context
        if name not in self._trees:
            layers = await self.layers(name)
            self._trees[name] = await self._named(name) if layers is None else await self._mount(layers)
        return self._trees[name]

    async def batches(self, wanted: Wanted) -> list[Batch]:
        """All files of a COPY or ADD. Raises NotFound, InvalidArgument in docker's words."""
        copy = wanted.copy
        local = [source for source in wanted.sources if not (copy.adds and (is_url(source) or is_git(source)))]
        remote = [source for source in wanted.sources if source not in local]
        if any(map(is_url, local)):
            raise InvalidArgument(f"source can't be a URL for {copy.line.keyword}")
        batches = [await self._fetched(source, wanted) for source in remote]
        if local:
            tree = await self.open(copy.origin)
            choose = partial(select, parents=copy.parents, perhaps_none=self._session.request.by_buildkit)
            selection = await finish_in_thread(choose, tree, local, wanted.excludes)
            batches.append(Batch(tree, selection, unpacks=copy.adds and copy.unpack is not False))
        if wanted.heredocs:
            batches.append(self._write_heredocs(wanted.heredocs))
        return batches

    async def unpacked(self, batch: Batch) -> list[Batch]:
        """ADD: each archive as the tree that is in it."""
        if not batch.unpacks:
            return [batch]
        assert isinstance(batch.tree, ContextTree)
        tree = batch.tree
        archives = await finish_in_thread(find_archives, tree, batch.selection)
        batches = [await self._unpack(tree, item.entry) for item in archives]
        plain = [item for item in batch.selection.items if item not in archives]
        rest = [Batch(batch.tree, Selection(tuple(plain), batch.selection.into_folder))] if plain else []
        return batches + rest

    def is_remote(self, wanted: Wanted) -> bool:
        """Whether the web has a part in it, of which nothing is known before one looks."""
        return wanted.copy.adds and any(is_url(source) or is_git(source) for source in wanted.sources)

    def _find(self, name: str) -> Origin:
        return self._session.plan.find_origin(self._planned, name)

    async def _named(self, name: str) -> Tree:
        """A context that was sent, or is elsewhere."""
        context, session = self._find(name).context, self._session
        if context in session.named:
            return session.named[context]
        session.check_may_work()
        return await self._remote_tree(session.request.named_remotes[context])

    async def _remote_tree(self, url: str) -> Tree:
        if is_git(url):
            return await self._clone(url)
        return (await self._download(url))[0]

    async def _mount(self, layers: Sequence[DiffId]) -> Tree:
        root = await self._undo.enter_async_context(build_root(self._session.parts, layers))
        return FolderTree(root.path)

    async def _fetched(self, url: str, wanted: Wanted) -> Batch:
        """Once a step: what the cache has been told of is what is written."""
        if url not in self._remote:
            self._remote[url] = await self._fetch(url, wanted)
        return self._remote[url]

    async def _fetch(self, url: str, wanted: Wanted) -> Batch:
        self._session.check_may_work()
        if is_git(url):
            tree = await self._clone(url, wanted.copy.keep_git_dir)
            return Batch(tree, await finish_in_thread(select, tree, ["."], wanted.excludes))
        tree, name = await self._download(url, wanted.checksum)
        entry = tree.find(name)
        assert entry is not None
        return Batch(tree, Selection((Item(name, entry, name),), into_folder=False))

    async def _download(self, url: str, checksum: str = "") -> tuple[ContextTree, str]:
        """A folder with the one file, and its name."""
        parts = self._session.parts
        download = Download(url, parts.paths.temporary, checksum, parts.registries.host_address)
        tree, name = await open_in_thread(download.file, lambda opened: opened[0].close(), download.abort)
        self._undo.callback(tree.close)
        return tree, name

    async def _clone(self, url: str, keep_git: bool = False) -> ContextTree:
        parts = self._session.parts
        authorization = await find_authorization(url, self._session.secret)
        async with aclosing(parts.repositories.fetch(url, keep_git, authorization)) as chunks:
            tree = await read_tree(parts, chunks)
        self._undo.callback(tree.close)
        return tree

    def _write_heredocs(self, heredocs: Sequence[tuple[str, str]]) -> Batch:
        content = os.memfd_create("heredocs", os.MFD_CLOEXEC)
        entries, items, offset = {}, [], 0
        for name, text in heredocs:
            data = text.encode("utf-8", "surrogateescape")
            os.write(content, data)
            digest = hashlib.sha256(data).digest()
            entry = Entry(stat.S_IFREG | 0o644, size=len(data), digest=digest, offset=offset)
            entries[name] = entry
            items.append(Item(name, entry, name))
            offset += len(data)
        tree = ContextTree(entries, content)
        self._undo.callback(tree.close)
        return Batch(tree, Selection(tuple(items), into_folder=len(items) > 1, sources=len(items)))

    async def _unpack(self, tree: ContextTree, entry: Entry) -> Batch:
        temporary = self._session.parts.paths.temporary
        inner = await open_in_thread(partial(_read_archive, tree, entry, temporary), ContextTree.close)
        self._undo.callback(inner.close)
        return Batch(inner, select_everything(inner), unpacked=True)


def _read_archive(tree: ContextTree, entry: Entry, temporary: str) -> ContextTree:
    reader = TreeReader(temporary, owned=True)
    try:
        for piece in tree.pieces(entry, _PIECE):
            reader.feed(piece)
        return reader.finish()
    finally:
        reader.close()


def find_archives(tree: ContextTree, selection: Selection) -> list[Item]:
    """What ADD takes apart; archives inside of a copied folder stay what they are. Blocks."""
    if any(item.top for item in selection.items):
        return []
    return [item for item in selection.items if "/" not in item.target and is_archive(tree, item.entry)]


def is_archive(tree: ContextTree, entry: Entry) -> bool:
    """A tar, or something compressed that has one inside, as docker's `IsArchivePath` looks at it."""
    if not entry.is_file:
        return False
    head = _inflate_start(next(tree.pieces(entry, _PIECE), b""))
    if len(head) < _BLOCK or not head[:_BLOCK].strip(b"\0"):
        return False
    try:
        list(TarDecoder().feed(head[:_BLOCK]))
    except TarError:
        return False
    return True


def _inflate_start(head: bytes) -> bytes:
    """What isn't compressed stays as it is."""
    try:
        return next(iter(open_inflater(head).feed(head)), b"")
    except InflateError:
        return b""


def copy_failed(keyword: str, error: HostvmError) -> HostvmError:
    """The same error with docker's words in front."""
    if isinstance(error, NotFound):
        return InvalidArgument(f"{keyword} failed: {error.message}", error.hint)
    return type(error)(f"{keyword} failed: {error.message}", error.hint)
