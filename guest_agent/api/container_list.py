"""`GET /containers/json`: which containers a `ps` shows. Pure but for the look-ups that the filters name."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from guest_agent.api.contract import Containers, Images
from guest_agent.api.parse_config import parse_ports
from guest_agent.api.query import Filters
from guest_agent.engine.container import Container, Status
from guest_agent.engine.links import named_links
from guest_agent.wire.errors import InvalidArgument, NotFound
from guest_agent.wire.models import ContainerId, ContainerPort

FILTERS = frozenset(
    "ancestor before exited expose health id is-task isolation label name network publish since status volume".split()
)
_HEALTH = frozenset({"starting", "healthy", "unhealthy", "none"})

Test = Callable[[Container], bool]


@dataclass(frozen=True, slots=True)
class Selection:
    everything: bool
    limit: int
    filters: Filters


def select(selection: Selection, containers: Containers, images: Images) -> list[Container]:
    """Newest first. Raises InvalidArgument for a bad filter, NotFound for `before` and `since` of what isn't there."""
    filters = selection.filters
    tests = [test for plan in _PLANS for test in plan(filters)]
    tests += _order_tests(filters, containers)
    tests += _ancestor_tests(filters, images)
    everything = selection.everything or selection.limit > 0 or "status" in filters or "exited" in filters
    found = [one for one in containers.list(everything) if all(test(one) for test in tests)]
    return found[: selection.limit] if selection.limit > 0 else found


def link_names(containers: Containers) -> Mapping[ContainerId, tuple[str, ...]]:
    """What containers are called by those that `--link` to them: `/parent/alias`."""
    names: dict[ContainerId, tuple[str, ...]] = {}
    for parent in containers.list(True):
        for name, alias in named_links(parent) if parent.host_config.links else ():
            with contextlib.suppress(NotFound, InvalidArgument):  # removed since, or an id's beginning no more unique
                identity = containers.find(name).id
                names[identity] = (*names.get(identity, ()), f"/{parent.name}/{alias}")
    return names


def _status_tests(filters: Filters) -> Iterable[Test]:
    wanted = filters["status"]
    for status in wanted:
        if status not in set(Status):
            raise InvalidArgument(f"invalid filter 'status={status}'")
    if wanted:
        yield lambda one: one.state.status in wanted


def _exited_tests(filters: Filters) -> Iterable[Test]:
    if "exited" not in filters:
        return
    codes = [_integer("exited", text) for text in filters["exited"]]
    yield lambda one: one.state.exit_code in codes and one.state.finished_ns > 0 and not one.running


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidArgument(f"invalid filter '{name}={text}'") from None


def _name_tests(filters: Filters) -> Iterable[Test]:
    """Each is a regular expression that may match anywhere, with or without the leading slash."""
    if "name" in filters:
        patterns = [_pattern(text) for text in filters["name"]]
        yield lambda one: any(p.search(one.name) or p.search(f"/{one.name}") for p in patterns)
    if "id" in filters:
        prefixes = filters["id"]
        yield lambda one: one.id.startswith(prefixes)


def _pattern(text: str) -> re.Pattern[str]:
    """What is no regular expression matches as it is written."""
    try:
        return re.compile(text)
    except re.error:
        return re.compile(re.escape(text))


def _label_tests(filters: Filters) -> Iterable[Test]:
    if "label" in filters:
        yield lambda one: filters.labels(one.config.labels)


def _port_tests(filters: Filters) -> Iterable[Test]:
    if "publish" in filters:
        published = _port_set(filters["publish"])
        yield lambda one: any(binding.container_port in published for binding in one.host_config.port_bindings)
    if "expose" in filters:
        exposed = _port_set(filters["expose"])
        yield lambda one: any(port in exposed for port in one.config.exposed_ports)


def _port_set(texts: Iterable[str]) -> set[ContainerPort]:
    return {port for text in texts for port in parse_ports(text)}


def _place_tests(filters: Filters) -> Iterable[Test]:
    """Volumes and networks by name or place."""
    if "volume" in filters:
        volumes = set(filters["volume"])
        yield lambda one: any({mount.name, mount.source, mount.destination} & volumes for mount in one.mount_points)
    if "network" in filters:
        networks = filters["network"]
        yield lambda one: _in_network(one, networks)


def _in_network(container: Container, networks: tuple[str, ...]) -> bool:
    mode = container.host_config.network_mode
    if (mode if mode not in ("", "default") else "bridge") in networks:
        return True
    return any(end.network in networks or end.network_id.startswith(networks) for end in container.endpoints)


def _kind_tests(filters: Filters) -> Iterable[Test]:
    """Health, and swarm tasks, which no container here is."""
    for text in filters["health"]:
        if text not in _HEALTH:
            raise InvalidArgument(f"unrecognised filter value for health: {text}")
    if "health" in filters:
        wanted = filters["health"]
        yield lambda one: (one.state.health.status if one.state.health else "none") in wanted
    if filters.flag("is-task"):
        yield lambda one: False


_PLANS = (_status_tests, _exited_tests, _name_tests, _label_tests, _port_tests, _place_tests, _kind_tests)


def _order_tests(filters: Filters, containers: Containers) -> list[Test]:
    tests: list[Test] = []
    for ref in filters["before"]:
        latest = containers.find(ref).created_ns
        tests.append(lambda one, latest=latest: one.created_ns < latest)  # type: ignore[misc]
    for ref in filters["since"]:
        earliest = containers.find(ref).created_ns
        tests.append(lambda one, earliest=earliest: one.created_ns > earliest)  # type: ignore[misc]
    return tests


def _ancestor_tests(filters: Filters, images: Images) -> list[Test]:
    """Containers of the image, or of an image that was made from it: its layers begin with the ancestor's."""
    if "ancestor" not in filters:
        return []
    descendants: set[str] = set()
    for ref in filters["ancestor"]:
        try:
            layers = images.find(ref).config.diff_ids
        except NotFound:
            continue  # an unknown ancestor has no descendants: dockerd shows an empty list
        descendants |= {image.config.id for image in images.list() if image.config.diff_ids[: len(layers)] == layers}
    return [lambda one: one.image_id in descendants]
