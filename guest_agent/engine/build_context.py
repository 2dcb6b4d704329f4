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


@dataclass(frozen=True, slots=True)
class BuildBody:
    """`whole` owns the content of all trees."""

    whole: ContextTree
    context: Tree
    dockerfile: bytes
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    named: Mapping[str, ContextTree] = field(default_factory=dict)

    def close(self) -> None:
        """The trees are empty from then on."""
        self.whole.close()
        for tree in (self.context, *self.named.values()):
            if isinstance(tree, ContextTree):
                tree.forget()


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
    if request.remote and request.remote != "client-session":
        return await _read_remote(parts, request, client)
    whole = await read_tree(parts, chunks)
    try:
        return _split(whole, request)
    except BaseException:
        whole.close()
        raise


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
    try:
        return BuildBody(tree, *_without_ignored(tree, request.dockerfile))
    except BaseException:
        tree.close()
        raise


def _split(whole: ContextTree, request: BuildRequest) -> BuildBody:
    if not request.in_parts:
        return BuildBody(whole, *_without_ignored(whole, request.dockerfile))
    context = whole.below("context")
    given = whole.find("dockerfile")
    if given is not None:
        dockerfile = whole.read("dockerfile", _MOST_DOCKERFILE)
    else:
        context, dockerfile = _without_ignored(context, request.dockerfile)
    secrets = {unquote(name): whole.read(f"secret/{name}", _MOST_SECRET) for name in whole.names("secret")}
    named = {unquote(name): whole.below(f"named/{name}") for name in whole.names("named")}
    return BuildBody(whole.without_entries(), context, dockerfile, secrets, named)


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
