"""COPY, ADD and WORKDIR: files into a layer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Event

from guest_agent.build.copying import Attributes, check_folders, copy_selection, make_folder
from guest_agent.build.instructions import Copy
from guest_agent.build.modes import ModeChange, parse_mode
from guest_agent.build.selecting import digest_selection
from guest_agent.build.snapshots import Snapshot
from guest_agent.build.state import absolute
from guest_agent.engine.build_roots import build_root, keep_changes
from guest_agent.engine.build_session import BuildSession
from guest_agent.engine.build_sources import Batch, Origins, Wanted, copy_failed, expand_sources, source_key
from guest_agent.runtime.users import resolve_user
from guest_agent.store.threads import finish_in, finish_in_thread
from guest_agent.wire.errors import HostvmError, InvalidArgument


@dataclass(frozen=True, slots=True)
class PlannedCopy:
    """A COPY with everything known; `digest` stands for all of its files."""

    wanted: Wanted
    target: str
    owner: str
    mode: ModeChange | None
    digest: str

    @property
    def comment(self) -> str:
        """As the classic builder writes it into the history."""
        flags = f"--chown={self.owner} " if self.owner else ""
        flags += f"--chmod={self.mode.text} " if self.mode else ""
        return f"{self.wanted.copy.line.keyword} {flags}{self.digest} in {self.target} "

    @property
    def identity(self) -> str:
        """What the cache knows it by: the comment, whether archives are taken apart and links are followed."""
        return repr((self.comment, self.wanted.copy.unpack, self.wanted.copy.link))


async def plan_copy(session: BuildSession, origins: Origins, snapshot: Snapshot, copy: Copy) -> PlannedCopy:
    """Raises InvalidArgument where a source isn't there, in docker's words."""
    state = snapshot.state
    wanted = expand_sources(snapshot, copy)
    target = absolute(state.config.working_dir, state.expand(copy.line, copy.target))
    try:
        digest = await _find_digest(session, origins, wanted)
    except HostvmError as error:
        raise copy_failed(copy.line.keyword, error) from error
    return PlannedCopy(wanted, target, state.expand(copy.line, copy.owner), _mode(snapshot, copy), digest)


async def perform_copy(session: BuildSession, origins: Origins, snapshot: Snapshot, planned: PlannedCopy) -> str:
    """Make the layer: its diff id. Raises InvalidArgument, HostFailed."""
    keyword = planned.wanted.copy.line.keyword
    try:
        batches = await origins.batches(planned.wanted)
        written = [one for batch in batches for one in await origins.unpacked(batch)]
    except HostvmError as error:
        raise copy_failed(keyword, error) from error
    check_target(keyword, batches, planned.target)
    async with build_root(session.parts, snapshot.diff_ids) as root:
        attributes = Attributes(_find_owner(root.path, planned.owner), planned.mode, planned.wanted.copy.link)
        for one in written:
            await _write(one, root.path, planned.target, attributes)
        return await keep_changes(session.parts, root, session.staging)


async def _write(batch: Batch, root: str, target: str, attributes: Attributes) -> None:
    stop = Event()
    attributes = replace(attributes, of_archive=batch.unpacked)
    copy = partial(copy_selection, batch.tree, batch.selection, root, target, attributes, stop.is_set)
    await finish_in(None, copy, abort=stop.set)


async def make_working_dir(session: BuildSession, snapshot: Snapshot, path: str, owner: str) -> str:
    """The folder, where the image hasn't got it: the layer's diff id. `owner`: "" for root."""
    async with build_root(session.parts, snapshot.diff_ids) as root:
        await finish_in_thread(make_folder, root.path, path, _find_user(root.path, owner))
        return await keep_changes(session.parts, root, session.staging)


async def check_volumes(session: BuildSession, snapshot: Snapshot, paths: Sequence[str]) -> None:
    """InvalidArgument where a file is in a volume's place: the classic builder makes a container of each step."""
    async with build_root(session.parts, snapshot.diff_ids) as root:
        await finish_in_thread(check_folders, root.path, paths)


async def _find_digest(session: BuildSession, origins: Origins, wanted: Wanted) -> str:
    """Of a stage's or an image's files it may be known without a look at them, of a context's where it wasn't sent."""
    key = await _source_key(session, origins, wanted)
    known = session.find_digest(key) if key else ""
    if known and (wanted.copy.origin or session.request.cached_only):
        return known
    batches = await origins.batches(wanted)
    digests = [await finish_in_thread(digest_selection, one.tree, one.selection) for one in batches]
    whole = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    digest = f"{_kind(batches)}:{whole}"
    if key:
        session.digests[key] = digest
    return digest


async def _source_key(session: BuildSession, origins: Origins, wanted: Wanted) -> str:
    """ "" where only a look can tell."""
    if not wanted.copy.origin:
        known = session.request.context_key and not origins.is_remote(wanted)
        return source_key(wanted, (f"context {session.request.context_key}",)) if known else ""
    layers = await origins.layers(wanted.copy.origin)
    return "" if layers is None else source_key(wanted, layers)


def _kind(batches: Sequence[Batch]) -> str:
    """The classic builder's word in front of the hash."""
    if len(batches) != 1 or len([item for item in batches[0].selection.items if item.top]) > 1:
        return "multi"
    return "dir" if batches[0].selection.into_folder else "file"


def check_target(keyword: str, batches: Sequence[Batch], target: str) -> None:
    if sum(batch.selection.sources for batch in batches) > 1 and not target.endswith("/"):
        raise InvalidArgument(
            f"When using {keyword} with more than one source file, the destination must be a directory and end with a /"
        )


def _mode(snapshot: Snapshot, copy: Copy) -> ModeChange | None:
    if not copy.mode:
        return None
    try:
        return parse_mode(snapshot.state.expand(copy.line, copy.mode))
    except ValueError as error:
        raise copy.line.fail(str(error), 'like 640, or like "u=rw,g=r"') from error


def _find_user(root: str, user: str) -> tuple[int, int] | None:
    """A USER as BuildKit reads it for a WORKDIR: whoever isn't known is root, until a command is run as him."""
    try:
        return _find_owner(root, user)
    except InvalidArgument:
        return None


def _find_owner(root: str, owner: str) -> tuple[int, int] | None:
    """--chown by the image's own names; a number alone is the group's, too. Raises InvalidArgument."""
    if not owner:
        return None
    user, _, group = owner.partition(":")
    try:
        found = resolve_user(root, user)
    except InvalidArgument as error:
        raise _no_owner(f"can't find uid for user {user}: no such user: {user}") from error
    if not group:
        return found.uid, found.uid if user.isdecimal() else found.gid
    try:
        return found.uid, resolve_user(root, owner).gid
    except InvalidArgument as error:
        raise _no_owner(f"can't find gid for group {group}: no such group: {group}") from error


def _no_owner(reason: str) -> InvalidArgument:
    return InvalidArgument(f"unable to convert uid/gid chown string to host mapping: {reason}")
