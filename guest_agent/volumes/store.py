"""The local volume driver: one folder a volume, its record in the database.

A volume with options has a file system of its own, which is mounted over its folder as long as a running container
uses it: in the keeper's mount namespace, so that it outlives an engine.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from guest_agent.linux.mounts import umount_if_mounted
from guest_agent.store.codec import from_plain, to_plain
from guest_agent.store.documents import parse_document, render_document
from guest_agent.store.paths import EnginePaths
from guest_agent.store.reading import read_all
from guest_agent.store.records import Records
from guest_agent.volumes.fill import fill_volume
from guest_agent.volumes.local_mounts import MountPlan, check_options, perform, plan_mount
from guest_agent.wire.errors import Conflict, HostFailed, InvalidArgument, NotFound
from guest_agent.wire.mounts import ANONYMOUS_LABEL, Volume

_KIND = "volume"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")

Tell = Callable[[Volume, str], None]


class Volumes:
    """All volumes.

    `users_of` tells which containers (ids) mount a volume; `discard` takes a folder out of sight at once; `tell`
    publishes what became of a volume ("create", "destroy").
    """

    def __init__(
        self,
        records: Records,
        paths: EnginePaths,
        users_of: Callable[[str], list[str]],
        discard: Callable[[str], None],
        tell: Tell,
    ) -> None:
        self._records = records
        self._paths = paths
        self._users_of = users_of
        self._discard = discard
        self._tell = tell
        self._mounted: set[str] = set()
        self._holders: defaultdict[str, set[str]] = defaultdict(set)
        #: By volume: taken in threads only, since a mount may wait for a server that doesn't answer.
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def start(self) -> list[str]:
        """Set aside records that can't be read, their folders stay. Warnings."""
        return read_all(self._records, _KIND, _parse)[1]

    def list(self) -> tuple[Volume, ...]:
        """By name."""
        return tuple(_parse(value) for _name, value in self._records.items(_KIND))

    def find(self, name: str) -> Volume:
        """Raises NotFound."""
        value = self._records.get(_KIND, name)
        if value is None:
            raise NotFound(f"get {name}: no such volume")
        return _parse(value)

    def users_of(self, name: str) -> tuple[str, ...]:
        """Ids of the containers that have it among their mounts."""
        return tuple(self._users_of(name))

    def create(
        self,
        name: str,
        driver: str = "",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume:
        """Make it, or give the one that has the name already. The record stands before the folder does.

        Without a name it is an anonymous one.
        """
        anonymous, name = not name, name or os.urandom(32).hex()
        if driver not in ("", "local"):
            raise NotFound(f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found')
        _check_name(name)
        if self._records.get(_KIND, name) is not None:
            return self._with_folder(self.find(name))
        check_options(name, options or {})
        marks = {ANONYMOUS_LABEL: ""} if anonymous else {}
        volume = Volume(
            name=name,
            mountpoint=self._paths.volume(name),
            created_ns=time.time_ns(),
            labels={**(labels or {}), **marks},
            options=dict(options or {}),
            anonymous=anonymous,
        )
        self._records.put(_KIND, name, render_document(to_plain(volume)))
        self._tell(self._with_folder(volume), "create")
        return volume

    def _with_folder(self, volume: Volume) -> Volume:
        """Its folder is there; where it can't be made, there is no volume either."""
        try:
            os.makedirs(volume.mountpoint, exist_ok=True)
        except OSError as error:
            self._records.delete(_KIND, volume.name)
            raise HostFailed(f"create {volume.name}: mkdir {volume.mountpoint}: {error.strerror}") from error
        return volume

    def remove(self, name: str, force: bool = False) -> None:
        """Delete the volume and what is in it. Conflict while a container has it, NotFound unless `force`."""
        try:
            volume = self.find(name)
        except NotFound:
            if force:
                return
            raise
        users = self._users_of(name)
        if users:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        self._unmount(volume)
        self._records.delete(_KIND, name)
        self._discard(os.path.dirname(volume.mountpoint))
        self._tell(volume, "destroy")

    # -- volumes with a file system of their own

    async def hold(self, volume: Volume, holder: str, find_source: Callable[[str], str | None]) -> None:
        """Have mounted what its options say until `holder` (a container's id) lets go. Idempotent.

        Raises HostFailed, Forbidden; the hold stands all the same.
        """
        plan = plan_mount(volume.options)
        if plan is not None:
            self._holders[volume.name].add(holder)
            await asyncio.to_thread(self._mount, self._locks[volume.name], volume, plan, find_source)

    def _mount(
        self, lock: threading.Lock, volume: Volume, plan: MountPlan, find_source: Callable[[str], str | None]
    ) -> None:
        with lock:
            if self._holders[volume.name] and volume.name not in self._mounted:
                perform(plan, volume.mountpoint, find_source)
                self._mounted.add(volume.name)

    async def let_go(self, volume: Volume, holder: str) -> None:
        """Its file system goes with the last holder. Idempotent."""
        if plan_mount(volume.options) is not None:
            self._holders[volume.name].discard(holder)
            await asyncio.to_thread(self._unmount_unheld, self._locks[volume.name], volume)

    def _unmount_unheld(self, lock: threading.Lock, volume: Volume) -> None:
        with lock:
            if not self._holders[volume.name]:
                self._unmount(volume)

    def _unmount(self, volume: Volume) -> None:
        """Idempotent. Containers that use it keep it: the kernel counts."""
        if plan_mount(volume.options) is not None and umount_if_mounted(volume.mountpoint):
            self._mounted.discard(volume.name)

    def settle(self, used: Iterable[tuple[str, str]]) -> None:
        """At start-up: what an earlier engine left mounted is ours where it is used, and unmounted elsewhere.

        `used`: names of volumes, and ids of the running containers that have them.
        """
        for name, holder in used:
            self._holders[name].add(holder)
        for volume in self.list():
            if plan_mount(volume.options) is None:
                continue
            if self._holders[volume.name]:
                self._mounted.add(volume.name)
            else:
                self._unmount(volume)

    # -- what an image has for them

    async def fill(self, name: str, rootfs: str, target: str) -> None:
        """Copy the folder `target` of a mounted root into the volume if it is empty; one fill after the other."""
        await asyncio.to_thread(self._fill, self._locks[name], rootfs, target, self._paths.volume(name))

    def _fill(self, lock: threading.Lock, rootfs: str, target: str, folder: str) -> None:
        with lock:
            fill_volume(rootfs, target, folder)


def _check_name(name: str) -> None:
    if len(name) == 1:
        raise InvalidArgument(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )


def _parse(value: str) -> Volume:
    return from_plain(Volume, parse_document(value))
