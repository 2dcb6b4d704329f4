"""A build's body: the context, the Dockerfile in it, and what our own client sends beside it."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import NoReturn
from urllib.parse import unquote

from guest_agent.build.selecting import leads_out, resolve
from guest_agent.build.trees import ContextTree, Entry, Tree, TreeReader
from guest_agent.engine.build_client import BuildClient
from guest_agent.engine.build_requests import BuildRequest, NotCached
from guest_agent.engine.build_web import Download
from guest_agent.engine.git_authorization import find_authorization
from guest_agent.engine.parts import Parts
from guest_agent.store.threads import finish_in_thread, open_in_thread
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.git_sources import is_git
from guest_agent.wire.ignore_patterns import IgnorePatterns, parse_ignore_file

#: A Dockerfile above this is none. Secrets: BuildKit's own limit is 500 KiB.
_MOST_DOCKERFILE = 16 << 20
_MOST_SECRET = 500 << 10
_IGNORE = ".dockerignore"
_ARCHIVE = "context.tar"
#: Bytes that are worth a thread's work.
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class BuildBody:
    """`whole` owns the content of the trees; of those that came beside a context from elsewhere `beside` does."""

    whole: ContextTree
    context: Tree
    dockerfile: bytes
    beside: ContextTree | None = None
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    named: Mapping[str, ContextTree] = field(default_factory=dict)

    def close(self) -> None:
        """The trees are empty from then on."""
        self.whole.close()
        if self.beside is not None:
            self.beside.close()
        for tree in (self.context, *self.named.values()):
            if isinstance(tree, ContextTree):
                tree.forget()


@dataclass(frozen=True, slots=True)
class _Beside:
    """What was sent in parts and isn't the context; `content` is theirs."""

    content: ContextTree
    secrets: Mapping[str, bytes]
    named: Mapping[str, ContextTree]

    @staticmethod
    def in_parts(sent: ContextTree) -> _Beside:
        secrets = {unquote(name): sent.read(f"secret/{name}", _MOST_SECRET) for name in sent.names("secret")}
        named = {unquote(name): sent.below(f"named/{name}") for name in sent.names("named")}
        return _Beside(sent.without_entries(), secrets, named)

    def added_to(self, body: BuildBody) -> BuildBody:
        return replace(body, beside=self.content, secrets=self.secrets, named=self.named)


class UnsentTree:
    """A context of which only the Dockerfile was sent: nothing is known of what is in it, or isn't."""

    owned = False

    def find(self, path: str) -> NoReturn:
        raise NotCached

    def names(self, path: str) -> NoReturn:
        raise NotCached

    def digest(self, path: str, entry: Entry) -> NoReturn:
        raise NotCached

    def copy(self, path: str, entry: Entry, target: int) -> NoReturn:
        raise NotCached


async def read_body(
    parts: Parts, request: BuildRequest, chunks: AsyncIterator[bytes], client: BuildClient
) -> BuildBody:
    """Raises InvalidArgument, PeerMisbehaved (the client ended in the middle), HostFailed."""
    body = await _read_whole(parts, request, chunks, client)
    return replace(body, context=UnsentTree()) if request.cached_only else body


async def _read_whole(
    parts: Parts, request: BuildRequest, chunks: AsyncIterator[bytes], client: BuildClient
) -> BuildBody:
    is_remote = request.remote not in ("", "client-session")
    if is_remote and not request.in_parts:
        return await _read_remote(parts, request, client)
    sent = await read_tree(parts, chunks)
    if not request.in_parts:
        return _with_dockerfile(sent, request)
    try:
        beside = _Beside.in_parts(sent)
        if is_remote:
            return beside.added_to(await _read_remote(parts, request, client))
        if sent.find(_ARCHIVE) is not None:
            tree = await read_tree(parts, _archive_in(sent))
            return beside.added_to(_with_dockerfile(tree, request))
        return _split(sent, request, beside)
    except BaseException:
        sent.close()
        raise


async def _archive_in(sent: ContextTree) -> AsyncIterator[bytes]:
    for name in sent.names(_ARCHIVE):
        file = sent.find(f"{_ARCHIVE}/{name}")
        for piece in sent.pieces(file, _PIECE) if file is not None else ():
            yield piece


async def read_tree(parts: Parts, chunks: AsyncIterator[bytes], owned: bool = False) -> ContextTree:
    """The tree of a tar that arrives. Raises InvalidArgument, HostFailed, and what the chunks raise."""
    reader = TreeReader(parts.paths.temporary, owned)
    try:
        async for chunk in chunks:
            await finish_in_thread(reader.feed, chunk)
        return reader.finish()
    finally:
        reader.close()


async def _read_remote(parts: Parts, request: BuildRequest, client: BuildClient) -> BuildBody:
    remote, folder = request.remote, parts.paths.temporary
    if is_git(remote):
        authorization = await find_authorization(remote, client.secret)
        async with aclosing(parts.repositories.fetch(remote, authorization=authorization)) as chunks:
            tree, dockerfile = await read_tree(parts, chunks), ""
    else:
        download = Download(remote, folder, host_address=parts.registries.host_address)
        opening = open_in_thread(download.context, lambda opened: opened[0].close(), download.abort)
        tree, dockerfile = await opening
    if dockerfile:
        return BuildBody(tree, tree, dockerfile.encode())
    return _with_dockerfile(tree, request)


def _with_dockerfile(tree: ContextTree, request: BuildRequest) -> BuildBody:
    """The tree is the context; it is closed where the Dockerfile isn't in it."""
    try:
        return BuildBody(tree, *_without_ignored(tree, request.dockerfile))
    except BaseException:
        tree.close()
        raise


def _split(whole: ContextTree, request: BuildRequest, beside: _Beside) -> BuildBody:
    context = whole.below("context")
    if whole.find("dockerfile") is not None:
        dockerfile = whole.read("dockerfile", _MOST_DOCKERFILE)
    else:
        context, dockerfile = _without_ignored(context, request.dockerfile)
    return BuildBody(whole.without_entries(), context, dockerfile, None, beside.secrets, beside.named)


def _without_ignored(tree: ContextTree, name: str) -> tuple[ContextTree, bytes]:
    """The Dockerfile's text. A client can't leave it out although .dockerignore says so: here it is left out."""
    path = _find_dockerfile(tree, name)
    data = tree.read(path, _MOST_DOCKERFILE)
    ignore = next((one for one in (f"{path}{_IGNORE}", _IGNORE) if tree.find(one) is not None), "")
    if not ignore:
        return tree, data
    try:
        patterns = IgnorePatterns(parse_ignore_file(tree.read(ignore, _MOST_DOCKERFILE)))
    except ValueError as error:
        raise InvalidArgument(f"{ignore}: {error}") from error
    return tree.without([one for one in (path, _IGNORE, ignore) if patterns.matches(one)]), data


def _find_dockerfile(tree: ContextTree, name: str) -> str:
    clean = posixpath.normpath((name or "Dockerfile").lstrip("/"))
    if leads_out(clean):
        raise InvalidArgument(f"Forbidden path outside the build context: {name} ()")
    candidates = (clean, "dockerfile") if clean == "Dockerfile" else (clean,)
    for candidate in candidates:
        path = resolve(tree, candidate)
        if path is not None:
            return path
    raise InvalidArgument(f"Cannot locate specified Dockerfile: {name or 'Dockerfile'}")
