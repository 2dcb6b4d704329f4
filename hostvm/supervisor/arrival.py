"""A guest's way from a QEMU that runs to an engine that answers; a first boot leaves a template on it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from guest_agent.wire.errors import HostvmError
from hostvm.machines.vm.launch import Way, have_template, mark_of
from hostvm.machines.vm.paths import VmPaths
from hostvm.supervisor.background import Background
from hostvm.supervisor.bridges import Bridges
from hostvm.supervisor.contact import RESUME_DEADLINE, Contact
from hostvm.supervisor.host_settings import plan_begin, read_config, read_search
from hostvm.supervisor.journal import say
from hostvm.supervisor.life import Life
from hostvm.supervisor.readiness import ENGINE_DEADLINE
from hostvm.supervisor.saving import SAVE_DEADLINE, copy_template, make_template_folder, record_template

#: Seconds for a guest to boot to its agent. TCG on an idle host: 4; four machines at once on two busy cores: 40.
_BOOT_DEADLINE = float(os.environ.get("HOSTVM_BOOT_SECONDS") or 180)


class Arrival:
    """Of one machine, in each of its lives. `config` is the engine's settings file; `reach` hears of the stages."""

    def __init__(
        self,
        paths: VmPaths,
        name: str,
        config: str,
        contact: Contact,
        bridges: Bridges,
        background: Background,
        reach: Callable[[str], None],
    ) -> None:
        self._paths = paths
        self._files = paths.machine(name)
        self._name = name
        self._config = config
        self._contact = contact
        self._bridges = bridges
        self._background = background
        self._reach = reach

    async def reach_engine(self, life: Life) -> None:
        """Raises what kept the engine from starting, or Unavailable."""
        deadline = _BOOT_DEADLINE if life.way is Way.BOOT else RESUME_DEADLINE
        await self._contact.open(deadline)
        if life.way is Way.SAVED:  # its engine ran when it was saved
            self._background.spawn(self._contact.renew())
            return
        await self._contact.attach()
        status = await self._contact.guest.ask("status", timeout=deadline)  # init is still busy with modules at a boot
        if status.get("engine") == "held":
            await self._begin(life)
        elif status.get("engine") == "ready":
            await self._contact.guest.set_time()
            return
        await self._contact.readiness.wait_engine(status)

    async def _begin(self, life: Life) -> None:
        """The guest has no disk yet."""
        guest = self._contact.guest
        if life.way is Way.BOOT and not have_template(self._paths, life.process.identity):
            await self._contact.readiness.wait_warm(await guest.ask("status"))
            await self._make_template(life)
        self._bridges.open()
        size = mark_of(self._files.disk).size
        if life.way is Way.TEMPLATE:
            await life.monitor.resize_disk(size)
        self._reach("opening the data disk")
        config = await asyncio.to_thread(read_config, self._config)
        fields = plan_begin(self._name, size, config, read_search())
        await guest.ask("begin", timeout=ENGINE_DEADLINE, **fields)
        self._reach("starting the engine")

    async def _make_template(self, life: Life) -> None:
        """Saves the warm guest for machines to come; that it can't be done is no reason to stop here."""
        self._reach("saving a template")
        await self._contact.freeze()
        is_saved = await self._save_template(life)
        await life.monitor.resume()
        await self._contact.thaw()
        if is_saved:
            self._background.spawn(self._record_template(life))

    async def _save_template(self, life: Life) -> bool:
        identity = life.process.identity
        try:
            path = make_template_folder(self._paths, identity)
            await life.monitor.save(path, SAVE_DEADLINE)
            await asyncio.to_thread(copy_template, self._paths, self._files, identity)
        except (HostvmError, OSError) as error:
            say(f"no template was made: {error}")
            return False
        return True

    async def _record_template(self, life: Life) -> None:
        try:
            await asyncio.to_thread(record_template, self._paths, life.process.identity)
        except (HostvmError, OSError) as error:
            say(f"no template was made: {error}")
