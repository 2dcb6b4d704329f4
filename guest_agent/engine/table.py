"""All containers: records in the database, a copy in memory, and the volatile half of each."""

from __future__ import annotations

import logging
from operator import attrgetter

from guest_agent.engine.container import Container, Status
from guest_agent.engine.live import Live
from guest_agent.engine.log_config import plan_limits
from guest_agent.engine.output import Limits, OutputLog
from guest_agent.store.codec import from_plain, to_plain
from guest_agent.store.documents import parse_document, render_document
from guest_agent.store.paths import EnginePaths
from guest_agent.store.reading import kind_set_aside, read_all
from guest_agent.store.records import Records
from guest_agent.wire.errors import Conflict, InvalidArgument, NotFound
from guest_agent.wire.models import ContainerId

log = logging.getLogger(__name__)

_KIND = "container"
_BIRTH = attrgetter("created_ns")


class ContainerTable:
    """Finds containers by what users call them, and stores each change."""

    def __init__(self, records: Records, paths: EnginePaths) -> None:
        self._records = records
        self._paths = paths
        self._containers: dict[ContainerId, Container] = {}
        self._live: dict[ContainerId, Live] = {}
        self._names: dict[str, ContainerId] = {}
        self.warnings: list[str] = []
        #: Ids of records that were set aside, this time or before: what belongs to them stays on disk.
        self.unreadable: list[str] = [key for key, _text in records.items(kind_set_aside(_KIND))]

    def load(self) -> None:
        """Read all records; one that can't be read is set aside, and its name said."""
        found, self.warnings = read_all(self._records, _KIND, _parse)
        for container in found.values():
            self._remember(container)
        self.unreadable = [key for key, _text in self._records.items(kind_set_aside(_KIND))]

    def _remember(self, container: Container) -> None:
        self._containers[container.id] = container
        self._names[container.name] = container.id

    # -- finding

    def all(self) -> tuple[Container, ...]:
        """Newest first."""
        return tuple(sorted(self._containers.values(), key=_BIRTH, reverse=True))

    def in_status(self, *statuses: Status) -> tuple[Container, ...]:
        """Those in one of them, newest first."""
        found = [one for one in self._containers.values() if one.state.status in statuses]
        return tuple(sorted(found, key=_BIRTH, reverse=True))

    def get(self, container_id: ContainerId) -> Container | None:
        return self._containers.get(container_id)

    def find(self, reference: str) -> Container:
        """By id, name, or unique beginning of an id; NotFound or InvalidArgument in docker's wording."""
        if not reference:
            raise InvalidArgument("name or ID cannot be empty")
        exact = self._containers.get(ContainerId(reference))
        if exact is not None:
            return exact
        by_name = self._names.get(reference.removeprefix("/"))
        if by_name is not None:
            return self._containers[by_name]
        matches = [identity for identity in self._containers if identity.startswith(reference)]
        if len(matches) > 1:
            raise InvalidArgument(f"Multiple IDs found with provided prefix: {reference}")
        if not matches:
            raise NotFound(f"No such container: {reference}")
        return self._containers[matches[0]]

    def live(self, container_id: ContainerId) -> Live:
        """The volatile half, made on first use."""
        live = self._live.get(container_id)
        if live is None:
            record = self._containers.get(container_id)
            limits = plan_limits(record.host_config) if record else Limits()
            live = self._live[container_id] = Live(OutputLog(self._paths.logs(container_id), limits))
        return live

    @property
    def names(self) -> dict[str, ContainerId]:
        return self._names

    def check_name_free(self, name: str) -> None:
        """Conflict in docker's wording where somebody has the name."""
        holder = self._names.get(name)
        if holder is not None:
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )

    def users_of_volume(self, name: str) -> list[str]:
        """Ids of the containers that mount it."""
        return [one.id for one in self._containers.values() if any(point.name == name for point in one.mount_points)]

    # -- storing

    def save(self, container: Container, durable: bool = True) -> Container:
        """Store the record; `durable` waits for the disk. The memory follows only when that succeeded."""
        with self._records.transaction(durable and not container.host_config.auto_remove):
            self._records.put(_KIND, container.id, render_document(to_plain(container)))
        before = self._containers.get(container.id)
        if before is not None and before.name != container.name:
            self._names.pop(before.name, None)
        self._remember(container)
        return container

    def remember_only(self, container: Container) -> None:
        """Change the memory where the disk can't be written; start-up finds out the same from the kernel."""
        self._remember(container)

    def forget(self, container: Container) -> None:
        """Delete the record; name and id are free."""
        with self._records.transaction(durable=not container.host_config.auto_remove):
            self._records.delete(_KIND, container.id)
        self.drop(container)

    def drop(self, container: Container) -> None:
        """Out of the memory alone, where the disk can't be written; start-up finds the rest out. Idempotent."""
        self._containers.pop(container.id, None)
        if self._names.get(container.name) == container.id:
            del self._names[container.name]
        live = self._live.pop(container.id, None)
        if live is not None:
            live.log.close()
            live.removed.set()
            live.run.finish(container.state.exit_code)  # whoever waits for an exit that won't come any more


def _parse(text: str) -> Container:
    return from_plain(Container, parse_document(text))
