"""RUN --mount: what each one is known by for the cache, and the mount that it becomes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace

from guest_agent.build.copying import Attributes, copy_selection
from guest_agent.build.instructions import MountKind, Run, RunMount
from guest_agent.build.reading import Heredoc
from guest_agent.build.selecting import select
from guest_agent.build.snapshots import Snapshot
from guest_agent.build.state import PROGRAMS, absolute
from guest_agent.build.trees import Tree
from guest_agent.engine.build_cache_mounts import begin_cache, source_content, strictest
from guest_agent.engine.build_roots import build_root
from guest_agent.engine.build_session import BuildSession
from guest_agent.engine.build_sources import Origins
from guest_agent.linux.paths import open_in_root
from guest_agent.store.paths import EnginePaths
from guest_agent.store.threads import finish_in_thread
from guest_agent.wire.errors import InvalidArgument, NotFound
from guest_agent.wire.mounts import MountPoint, MountType, ReadOnlyDepth

_SECRETS = "/run/secrets"
#: BuildKit's place for the agent of `--mount=type=ssh`.
_AGENT = "/run/buildkit/ssh_agent"


@dataclass(slots=True)
class Mounted:
    """What a RUN gets by its mounts. `stubs` are the mount points to be made below its root."""

    points: list[MountPoint] = field(default_factory=list)
    environment: list[str] = field(default_factory=list)
    stubs: list[str] = field(default_factory=list)
    caches: dict[RunMount, str] = field(default_factory=dict)  #: the names of their folders


def expand_mounts(snapshot: Snapshot, run: Run) -> tuple[RunMount, ...]:
    """Variables replaced, targets absolute. Raises DockerfileError."""
    return tuple(_expand(snapshot, run, mount) for mount in run.mounts)


def _expand(snapshot: Snapshot, run: Run, mount: RunMount) -> RunMount:
    state = snapshot.state
    target, source, identity = (state.expand(run.line, text) for text in (mount.target, mount.source, mount.id))
    if mount.kind in (MountKind.SECRET, MountKind.SSH):
        identity = replace(mount, target=target, source=source, id=identity).name
    if mount.kind is MountKind.SECRET:
        if not identity:
            raise run.line.fail("secret mount requires an id, a source or a target")
        target = target or ("" if mount.env else f"{_SECRETS}/{identity}")
    if mount.kind is MountKind.SSH:
        target = target or f"{_AGENT}.{[one for one in run.mounts if one.kind is MountKind.SSH].index(mount)}"
    place = absolute(state.config.working_dir, target).rstrip("/") if target else ""
    if target and not place:
        raise run.line.fail(f"invalid mount target {target}: it can't be the root")
    if mount.kind is MountKind.CACHE:
        identity = identity or place
    return replace(mount, target=place, source=source, id=identity)


async def describe_mounts(origins: Origins, mounts: tuple[RunMount, ...]) -> str:
    """What a step's result follows from: the content of what is bound; of the others, that they are there."""
    return "\n".join([await _describe(origins, mount) for mount in mounts])


async def _describe(origins: Origins, mount: RunMount) -> str:
    if mount.kind not in (MountKind.BIND, MountKind.CACHE):
        return repr((mount.kind.value, mount.target, mount.id, mount.env, mount.size))
    content = await source_content(origins, mount)
    return repr((mount.kind.value, mount.id, mount.target, mount.source, mount.read_only, content))


async def make_mounts(
    session: BuildSession,
    origins: Origins,
    mounts: tuple[RunMount, ...],
    caches: Mapping[RunMount, str],
    undo: AsyncExitStack,
) -> Mounted:
    """Everything that the mounts need is there until `undo` runs. Raises NotFound, InvalidArgument, Unsupported.

    `caches` has the name of each cache.
    """
    taken = await session.caches.take_all(strictest(caches), undo)
    mounted = Mounted(caches={mount: taken[name] for mount, name in caches.items()})
    for mount in mounts:
        await _MAKERS[mount.kind](session, origins, mount, undo, mounted)
    return mounted


async def _make_bind(
    session: BuildSession, origins: Origins, mount: RunMount, undo: AsyncExitStack, mounted: Mounted
) -> None:
    """A copy (of a context) or an overlay (of layers): what is written to it is dropped."""
    layers = await origins.layers(mount.origin) if mount.origin else None
    root = await undo.enter_async_context(build_root(session.parts, layers or ()))
    path = mount.source
    if layers is None:
        tree = await origins.open(mount.origin)
        path = await finish_in_thread(copy_source, tree, mount.source, root.path)
    source = _path_in(root.path, path)
    read_only = mount.read_only is not False
    mounted.points.append(_bound(mount.target, source, read_only))
    mounted.stubs.append(mount.target + ("/" if os.path.isdir(source) else ""))


def copy_source(tree: Tree, source: str, root: str) -> str:
    """A file, or what is in a folder, alone; the path below `root` that it has there."""
    selection = select(tree, [source or "."])
    copy_selection(tree, selection, root, "/", Attributes())
    return selection.items[0].target


def _bound(target: str, source: str, read_only: bool) -> MountPoint:
    """A path of the engine's own. It has no mounts below, and crun can't make a file read-only recursively."""
    return MountPoint(MountType.VOLUME, target, source, read_only=read_only, depth=ReadOnlyDepth.WRITABLE)


def _path_in(root: str, path: str) -> str:
    """Where a path of the mounted tree really is; links can't lead out of it."""
    try:
        descriptor = open_in_root(root, path or "/", os.O_PATH)
    except OSError:
        raise NotFound(f'failed to calculate checksum of mount source: "/{path.lstrip("/")}": not found') from None
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


async def _make_cache(
    session: BuildSession, origins: Origins, mount: RunMount, undo: AsyncExitStack, mounted: Mounted
) -> None:
    """A folder that stays."""
    name = mounted.caches[mount]
    folder = session.parts.paths.build_cache(name)
    await begin_cache(session, origins, mount, folder)
    session.caches.note_use(name, f'cached mount {mount.target} with id "{mount.id}"')
    mounted.points.append(_bound(mount.target, folder, bool(mount.read_only)))
    mounted.stubs.append(mount.target + "/")


async def _make_tmpfs(
    session: BuildSession, origins: Origins, mount: RunMount, undo: AsyncExitStack, mounted: Mounted
) -> None:
    options = f"exec,size={mount.size}" if mount.size else "exec"
    mounted.points.append(MountPoint(MountType.TMPFS, mount.target, "", options=options))
    mounted.stubs.append(mount.target + "/")


def mount_program(session: BuildSession, heredoc: Heredoc, undo: AsyncExitStack, mounted: Mounted) -> None:
    """A RUN's heredoc that begins with `#!`."""
    data = heredoc.text.encode("utf-8", "surrogateescape")
    path = _private_file(session, undo, data, 0o755, 0, 0)
    mounted.points.append(_bound(f"{PROGRAMS}/{heredoc.name}", path, True))
    mounted.stubs.append(f"{PROGRAMS}/{heredoc.name}")


async def _make_secret(
    session: BuildSession, origins: Origins, mount: RunMount, undo: AsyncExitStack, mounted: Mounted
) -> None:
    """On the engine's tmpfs for the time of the step; in no layer and in no history."""
    secret = await session.secret(mount.id)
    if secret is None:
        if mount.required:
            raise NotFound(f"secret {mount.id}: not found", f"give it with --secret id={mount.id},src=FILE")
        return
    if mount.env:
        mounted.environment.append(f"{mount.env}={secret.decode('utf-8', 'surrogateescape')}")
    if mount.target:
        path = _private_file(session, undo, secret, 0o400 if mount.mode is None else mount.mode, mount.uid, mount.gid)
        mounted.points.append(_bound(mount.target, path, True))
        mounted.stubs.append(mount.target)


def drop_left_secrets(paths: EnginePaths) -> None:
    """At start-up: a killed engine's steps are over, and nothing else removes what they were shown."""
    shutil.rmtree(paths.build_secrets, ignore_errors=True)


@contextmanager
def private_folder(paths: EnginePaths) -> Iterator[str]:
    """For what must not outlive its step, and is in memory only."""
    folder = f"{paths.build_secrets}/{os.urandom(16).hex()}"
    os.makedirs(folder, mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _private_file(session: BuildSession, undo: AsyncExitStack, data: bytes, mode: int, uid: int, gid: int) -> str:
    folder = undo.enter_context(private_folder(session.parts.paths))
    path = f"{folder}/secret"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    os.chown(path, uid, gid)
    os.chmod(path, mode)
    return path


async def _make_agent(
    session: BuildSession, origins: Origins, mount: RunMount, undo: AsyncExitStack, mounted: Mounted
) -> None:
    folder = undo.enter_context(private_folder(session.parts.paths))
    socket = await undo.enter_async_context(session.client.agent(mount.id, folder))
    if not socket:
        if mount.required:
            raise InvalidArgument(f"unset ssh forward key {mount.id}", f"give it with --ssh {mount.id}")
        return
    os.chown(socket, mount.uid, mount.gid)
    os.chmod(socket, 0o600 if mount.mode is None else mount.mode)
    mounted.points.append(_bound(mount.target, socket, False))
    if not any(one.startswith("SSH_AUTH_SOCK=") for one in mounted.environment):  # the first one's
        mounted.environment.append(f"SSH_AUTH_SOCK={mount.target}")
    mounted.stubs.append(mount.target)


_MAKERS = {
    MountKind.BIND: _make_bind,
    MountKind.CACHE: _make_cache,
    MountKind.TMPFS: _make_tmpfs,
    MountKind.SECRET: _make_secret,
    MountKind.SSH: _make_agent,
}
