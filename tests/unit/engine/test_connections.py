"""A container's record while it joins and leaves networks, where the kernel refuses."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from guest_agent.engine import connections
from guest_agent.engine.container import Container, Status
from guest_agent.engine.parts import Parts
from guest_agent.wire.errors import HostFailed
from guest_agent.wire.models import ContainerPort, Endpoint, PortBinding, PublishedPort
from guest_agent.wire.networks import EndpointSettings, Network
from tests.unit.engine.records import container

BACK = Network("b" * 64, "back", "bridge", 1)
FRONT = Network("f" * 64, "front", "bridge", 1)
PORT = PublishedPort(ContainerPort(80), "0.0.0.0", 8080)


class RefusingNetworks:
    """Makes no interface, and publishes nothing."""

    def __init__(self) -> None:
        self.dismissed: list[str] = []

    def all(self) -> tuple[Network, ...]:
        return BACK, FRONT

    def admit(self, member: object, taken: object) -> Endpoint:
        return endpoint(BACK)

    def join(self, *_: object) -> Endpoint:
        raise HostFailed("can't")

    def dismiss(self, container_id: str, one: Endpoint) -> None:
        self.dismissed.append(one.network)

    async def leave(self, *_: object) -> None:
        pass

    async def release(self, container_id: str) -> None:
        pass

    def plan_published(self, bindings: tuple[PortBinding, ...], network_ids: object) -> tuple[PortBinding, ...]:
        return tuple(bindings)

    async def publish(self, *_: object) -> tuple[PublishedPort, ...]:
        raise HostFailed("can't publish")


class OneContainer:
    """The table, with its lock."""

    def __init__(self, record: Container) -> None:
        self.record = record
        self._live = SimpleNamespace(lock=asyncio.Lock())

    def find(self, _: str) -> Container:
        return self.record

    get = find

    def live(self, _: str) -> Any:
        return self._live

    def save(self, record: Container) -> Container:
        self.record = record
        return record


def endpoint(network: Network) -> Endpoint:
    return Endpoint(network.name, network.id, address="10.9.0.2", host_interface="veth1")


def record_after(record: Container, step: str) -> Container:
    """Raised in between: HostFailed."""

    async def run() -> Container:
        table = OneContainer(record)
        parts = cast(Parts, SimpleNamespace(table=table, networks=RefusingNetworks()))
        doing: Awaitable[None] = (
            connections.connect(parts, BACK, "box", EndpointSettings("back"))
            if step == "connect"
            else connections.disconnect(parts, BACK, "box", force=False)
        )
        with pytest.raises(HostFailed):
            await doing
        return table.record

    return asyncio.run(run())


def test_a_refused_join_leaves_the_record_as_it_was() -> None:
    """Of a container that was on no network at all: `unconnected` says that its next start makes none either."""
    before = dataclasses.replace(container(Status.RUNNING), unconnected=True)
    assert record_after(before, "connect") == before


def test_ports_that_could_not_follow_are_not_in_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_follow_names", lambda parts, container: None)
    one = container(Status.RUNNING)
    host = dataclasses.replace(one.host_config, port_bindings=(PortBinding(ContainerPort(80)),))
    settings = tuple(EndpointSettings(network.name, network.id) for network in (BACK, FRONT))
    endpoints = (endpoint(BACK), endpoint(FRONT))
    before = dataclasses.replace(one, host_config=host, networks=settings, endpoints=endpoints, ports=(PORT,))
    after = record_after(before, "disconnect")
    assert after.ports == () and after.endpoints == (endpoint(FRONT),)
