"""`--link` on the default network: the linked container's address in /etc/hosts, and what it offers as variables.

Docker's oldest way for containers to find each other (daemon/links). Networks of users have names in place of it, and
take their links as further names (`EndpointSettings.links`).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from guest_agent.engine.container import Container, Status
from guest_agent.engine.mode_conflicts import HOST_AND_LINKS
from guest_agent.engine.parts import Parts
from guest_agent.engine.wiring import is_user_defined
from guest_agent.wire.errors import HostFailed, InvalidArgument, NotFound
from guest_agent.wire.models import ContainerPort, Endpoint, HostConfig, Protocol
from guest_agent.wire.networks import BRIDGE, HOST

log = logging.getLogger(__name__)

#: Variables of the linked container that say nothing to another one.
_OWN_VARIABLES = ("HOME", "PATH")


@dataclass(frozen=True, slots=True)
class Link:
    """A linked container as the one that links sees it."""

    alias: str
    address: str
    container: Container

    @property
    def host(self) -> str:
        """As for --add-host: every name that the address has."""
        names = dict.fromkeys((self.alias, self.container.config.hostname, self.container.name))
        return f"{' '.join(names)}:{self.address}"


def parse_link(text: str) -> tuple[str, str]:
    """`NAME`, `NAME:ALIAS`, or what inspect says (`/name:/other/alias`): (name, alias)."""
    name, colon, alias = text.partition(":")
    if not name or (colon and not alias) or ":" in alias:
        raise InvalidArgument(f"bad format for links: {text}")
    bare = name.removeprefix("/")
    return bare, (alias or bare).rpartition("/")[2]


def parse_link_name(text: str) -> tuple[str, str]:
    """`[/]NAME/ALIAS`: (name, alias). Raises HostFailed for a container's own name: dockerd answers 500."""
    name, slash, alias = text.removeprefix("/").rpartition("/")
    if not slash:
        raise HostFailed("Conflict, cannot remove the default link name of the container")
    return name, alias


def without_link(container: Container, alias: str) -> Container:
    """The record without the link of that name. Raises NotFound."""
    host = container.host_config
    left = tuple(text for text in host.links if parse_link(text)[1] != alias)
    if len(left) == len(host.links):
        raise NotFound(f"No such container: {container.name}/{alias}")
    return dataclasses.replace(container, host_config=dataclasses.replace(host, links=left))


def check_links(parts: Parts, host_config: HostConfig) -> None:
    """At a container's making. Raises InvalidArgument in dockerd's words."""
    for name, _alias in _named(host_config):
        try:
            linked = _find_linked(parts, name)
        except NotFound as error:
            raise InvalidArgument(f"could not get container for {name}: {error.message}") from None
        if linked.host_config.network_mode == HOST:
            raise InvalidArgument(HOST_AND_LINKS)


def named_links(container: Container) -> list[tuple[str, str]]:
    """(name, alias) of each."""
    return _named(container.host_config)


def _named(host_config: HostConfig) -> list[tuple[str, str]]:
    """None in a network of a user: there they are the endpoint's."""
    return [] if is_user_defined(host_config.network_mode) else [parse_link(text) for text in host_config.links]


def find_links(parts: Parts, container: Container) -> tuple[Link, ...]:
    """What a start links to. Raises InvalidArgument where one doesn't run, or isn't on the default network."""
    return tuple(_find(parts, container, name, alias) for name, alias in named_links(container))


def _find(parts: Parts, container: Container, name: str, alias: str) -> Link:
    linked = _find_running(parts, name)
    if linked is None:
        raise InvalidArgument(f"Cannot link to a non running container: /{name} AS /{container.name}/{alias}")
    address = _default_address(linked.endpoints)
    if not address:
        raise InvalidArgument(f"Cannot link to /{linked.name}, as it does not belong to the default network")
    return Link(alias, address, linked)


def _find_running(parts: Parts, name: str) -> Container | None:
    """None also for one that has been removed: docker's words are the same."""
    try:
        linked = _find_linked(parts, name)
    except NotFound:
        return None
    return linked if linked.running else None


def _find_linked(parts: Parts, name: str) -> Container:
    """In place of a container that has another one's network docker links to that one. Raises NotFound."""
    seen: list[Container] = []
    linked = parts.table.find(name)
    while linked.host_config.network_mode.startswith("container:") and linked not in seen:
        seen.append(linked)
        linked = parts.table.find(linked.host_config.network_mode.partition(":")[2])
    return linked


def follow_name(parts: Parts, name: str, new_name: str) -> None:
    """A container has been renamed: links are to it and not to its name, so those of others name it anew."""
    for container in parts.table.all():
        renamed = with_renamed_links(container, name, new_name)
        if renamed != container:
            parts.table.save(renamed)


def with_renamed_links(container: Container, name: str, new_name: str) -> Container:
    """The record whose links to `name` are to `new_name`, by the same alias; those in a user's network stay."""
    host = container.host_config
    if is_user_defined(host.network_mode):
        return container
    links = tuple(_follow(text, name, new_name) for text in host.links)
    return dataclasses.replace(container, host_config=dataclasses.replace(host, links=links))


def _follow(text: str, name: str, new_name: str) -> str:
    linked, alias = parse_link(text)
    return f"{new_name}:{alias}" if linked == name else text


def link_variables(parts: Parts, container: Container) -> tuple[str, ...]:
    """NAME=value of every program that is started in the container, now. Raises as `find_links`."""
    return plan_variables(container.name, find_links(parts, container))


def renew_links(parts: Parts, linked: Container) -> None:
    """It may have another address than at its last run: running containers that link to it find that in /etc/hosts.

    Their variables stay what they were, as with docker. Nobody who runs can be linked to one that never ran before,
    whatever its name: so a `run` needn't look at all containers.
    """
    address = _default_address(linked.endpoints) if linked.state.finished_ns else ""
    for container in parts.table.in_status(Status.RUNNING, Status.PAUSED) if address else ():
        aliases = {alias for name, alias in named_links(container) if name in _names_of(linked)}
        try:
            if aliases:
                _rewrite(f"{parts.paths.bundle(container.id)}/hosts", aliases, address)
        except OSError as error:  # the start, which is done, is somebody else's
            log.error("%s isn't told of %s's address: %s", container.id[:12], linked.id[:12], error)


def _names_of(container: Container) -> tuple[str, ...]:
    """By which a link may go. A shorter id may have come to be another container's."""
    return container.name, container.id, container.id[:12]


def _rewrite(path: str, aliases: Collection[str], address: str) -> None:
    """In place: this very inode is mounted in the container."""
    with open(path, "r+", encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
        file.seek(0)
        file.write(renew_hosts(text, aliases, address))
        file.truncate()


def renew_hosts(text: str, aliases: Collection[str], address: str) -> str:
    """hosts(5) with this address in the lines whose first name is one of these; the container may have changed it."""
    return "".join(_renew_line(line, aliases, address) for line in text.splitlines(keepends=True))


def _renew_line(line: str, aliases: Collection[str], address: str) -> str:
    words = line.split()
    if len(words) < 2 or words[0].startswith("#") or words[1] not in aliases:
        return line
    return line.replace(words[0], address, 1)


def _default_address(endpoints: Iterable[Endpoint]) -> str:
    return next((one.address for one in endpoints if one.network == BRIDGE), "")


def plan_variables(container_name: str, links: Iterable[Link]) -> tuple[str, ...]:
    """DB_PORT_3306_TCP_ADDR and its like, for each port that the linked container exposes."""
    return tuple(variable for link in links for variable in _variables_of(container_name, link))


def _variables_of(container_name: str, link: Link) -> Iterator[str]:
    prefix = link.alias.upper().replace("-", "_")
    ports = sorted(
        link.container.config.exposed_ports, key=lambda port: (port.protocol is not Protocol.TCP, port.number)
    )
    if ports:
        yield f"{prefix}_PORT={_url(link, ports[0])}"
    for port in ports:
        name = f"{prefix}_PORT_{port.number}_{port.protocol.upper()}"
        yield f"{name}={_url(link, port)}"
        yield f"{name}_ADDR={link.address}"
        yield f"{name}_PORT={port.number}"
        yield f"{name}_PROTO={port.protocol}"
    yield f"{prefix}_NAME=/{container_name}/{link.alias}"
    for variable in link.container.config.environment:
        name, equals, _ = variable.partition("=")
        if equals and name not in _OWN_VARIABLES:
            yield f"{prefix}_ENV_{variable}"


def _url(link: Link, port: ContainerPort) -> str:
    return f"{port.protocol}://{link.address}:{port.number}"
