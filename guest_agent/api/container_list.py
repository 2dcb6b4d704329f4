"""`GET /containers/json`: which containers a `ps` shows. Pure but for the look-ups that the filters name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from guest_agent.api.contract import Containers, Images
from guest_agent.api.filters import Filters
from guest_agent.api.port_filters import parse_port_filter
from guest_agent.api.render_container import list_ports
from guest_agent.api.render_endpoints import render_networks
from guest_agent.engine.container import Container, Status
from guest_agent.engine.links import named_links
from guest_agent.wire.errors import InvalidArgument, NotFound
from guest_agent.wire.go_numbers import parse_integer
from guest_agent.wire.models import ContainerId, Image, ImageId

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
    tests += _id_tests(filters, containers)
    tests += _order_tests(filters, containers)
    tests += _ancestor_tests(filters, images)
    everything = selection.everything or selection.limit > 0 or "status" in filters
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
    codes = [_exit_code(text) for text in filters["exited"]]
    yield lambda one: one.state.exit_code in codes and one.state.started_ns > 0 and not one.running


def _exit_code(text: str) -> int:
    try:
        return parse_integer(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid filter 'exited={text}': {error.message}") from error


def _name_tests(filters: Filters) -> Iterable[Test]:
    """With or without the leading slash."""
    if "name" in filters:
        yield lambda one: filters.matches("name", one.name, f"/{one.name}")


def _label_tests(filters: Filters) -> Iterable[Test]:
    if "label" in filters:
        yield lambda one: filters.labels(one.config.labels)


def _port_tests(filters: Filters) -> Iterable[Test]:
    """`publish` is for the host's ports, `expose` for the container's; either will do. Both are open while it runs."""
    if "publish" not in filters and "expose" not in filters:
        return
    published, exposed = (
        parse_port_filter("publish", filters["publish"]),
        parse_port_filter("expose", filters["expose"]),
    )
    yield lambda one: any(
        (port.get("PublicPort", 0), port["Type"]) in published or (port["PrivatePort"], port["Type"]) in exposed
        for port in list_ports(one)
    )


def _place_tests(filters: Filters) -> Iterable[Test]:
    """Volumes and networks by name or place."""
    if filters.wants("volume"):
        volumes = set(filters["volume"])
        yield lambda one: any({mount.name or mount.source, mount.destination} & volumes for mount in one.mount_points)
    if filters.wants("network"):
        networks = filters["network"]
        yield lambda one: _in_network(one, networks)


def _in_network(container: Container, networks: tuple[str, ...]) -> bool:
    """By a network's name, or the beginning of its id."""
    found = render_networks(container)
    ids = [str(one["NetworkID"]) for one in found.values()]
    return not found.keys().isdisjoint(networks) or any(one.startswith(networks) for one in ids if one)


def _kind_tests(filters: Filters) -> Iterable[Test]:
    """Health, and swarm tasks, which no container here is."""
    for text in filters["health"]:
        if text not in _HEALTH:
            raise InvalidArgument(f"unrecognized filter value for health: {text}")
    if "health" in filters:
        wanted = filters["health"]
        yield lambda one: (one.state.health.status if one.state.health else "none") in wanted
    if filters.flag("is-task"):
        yield lambda one: False


_PLANS = (_status_tests, _exited_tests, _name_tests, _label_tests, _port_tests, _place_tests, _kind_tests)


def _id_tests(filters: Filters, containers: Containers) -> list[Test]:
    """By the beginning of an id that no other container's id begins with."""
    if "id" not in filters:
        return []
    everyone = [one.id for one in containers.list(True)]
    found = [[one for one in everyone if text and one.startswith(text)] for text in filters["id"]]
    chosen = {ids[0] for ids in found if len(ids) == 1}
    return [lambda one: one.id in chosen]


def _order_tests(filters: Filters, containers: Containers) -> list[Test]:
    """An id's beginning will do, as docker documents it; dockerd takes none but whole ones since 17.06."""
    tests: list[Test] = []
    for ref in filters["before"]:
        latest = containers.find(ref).created_ns
        tests.append(lambda one, latest=latest: one.created_ns < latest)  # type: ignore[misc]
    for ref in filters["since"]:
        earliest = containers.find(ref).created_ns
        tests.append(lambda one, earliest=earliest: one.created_ns > earliest)  # type: ignore[misc]
    return tests


def _ancestor_tests(filters: Filters, images: Images) -> list[Test]:
    """Containers of the image, or of an image that was made from it."""
    if not filters.wants("ancestor"):
        return []
    known = {image.config.id: image for image in images.list()}
    descendants: set[str] = set()
    for ref in filters["ancestor"]:
        with contextlib.suppress(NotFound):  # an unknown ancestor has no descendants: dockerd shows an empty list
            ancestor = images.find(ref)
            descendants |= {image.config.id for image in known.values() if descends(image, ancestor, known)}
    return [lambda one: one.image_id in descendants]


def descends(image: Image, ancestor: Image, known: Mapping[ImageId, Image]) -> bool:
    """By the line of parents; where that ends, by the layers: those of a pulled image are all that is known of it."""
    first = image
    while first.config.id != ancestor.config.id:
        parent = known.get(ImageId(first.parent))
        if parent is None:
            layers, older = first.config.diff_ids, ancestor.config.diff_ids
            return len(layers) > len(older) and layers[: len(older)] == older
        first = parent
    return True
