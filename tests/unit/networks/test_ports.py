"""Which ports are tried in which order, and what a successor reads from the holder's note."""

from __future__ import annotations

import socket

import pytest

from guest_agent.networks.ports import HeldPort, format_note, hold_port, parse_note, plan_order
from guest_agent.networks.publisher import plan_bindings
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerPort, PortBinding, Protocol, PublishedPort

WEB = ContainerPort(80)


def test_fixed_ports_are_taken_before_ranges_and_those_before_any() -> None:
    free, ranged, fixed = PortBinding(WEB), PortBinding(WEB, "", 8000, 8010), PortBinding(WEB, "", 8000)
    assert plan_order([free, ranged, fixed, free]) == [fixed, ranged, free]


def test_an_address_that_is_none_is_the_users_fault() -> None:
    with pytest.raises(InvalidArgument, match="invalid IP address"):
        hold_port(PortBinding(WEB, "nowhere", 80), "box (0)")


def test_a_note_brings_everything_back() -> None:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    held = HeldPort(one, ContainerPort(53, Protocol.UDP), "127.0.0.1", 5353)
    note = format_note([held])
    (restored,) = parse_note(note, [one.detach()])
    assert restored.published == (PublishedPort(ContainerPort(53, Protocol.UDP), "127.0.0.1", 5353),)
    assert restored.socket.type == socket.SOCK_DGRAM
    restored.close()
    restored.close()


def test_both_families_of_a_port_are_one_binding() -> None:
    ports = [PublishedPort(WEB, address, 8080) for address in ("0.0.0.0", "::")]
    assert plan_bindings(ports) == [PortBinding(WEB, "", 8080)]
    assert plan_bindings(ports[:1]) == [PortBinding(WEB, "0.0.0.0", 8080)]
    assert plan_bindings(ports[1:]) == [PortBinding(WEB, "::", 8080)]
    assert plan_bindings([PublishedPort(WEB, "127.0.0.1", 1)]) == [PortBinding(WEB, "127.0.0.1", 1)]
