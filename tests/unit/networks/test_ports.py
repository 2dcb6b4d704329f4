"""Which ports are tried in which order, and what a successor reads from the holder's note."""

from __future__ import annotations

import errno

import pytest

from guest_agent.networks.ports import (
    PortRecord,
    allocated,
    check_address,
    find_clash,
    format_note,
    parse_note,
    plan_bindings,
    plan_order,
    plan_waves,
    refusal,
)
from guest_agent.wire.errors import AddressInUse, InvalidArgument
from guest_agent.wire.models import ContainerPort, PortBinding, Protocol, PublishedPort

WEB = ContainerPort(80)


def test_fixed_ports_are_taken_before_ranges_and_those_before_any() -> None:
    free, ranged, fixed = PortBinding(WEB), PortBinding(WEB, "", 8000, 8010), PortBinding(WEB, "", 8000)
    assert plan_order([free, ranged, fixed, free]) == [fixed, ranged, free]


def test_an_address_that_is_none_is_the_users_fault() -> None:
    with pytest.raises(InvalidArgument, match="invalid IP address"):
        check_address("nowhere")
    check_address("")
    check_address("::1")


def test_a_note_brings_everything_back() -> None:
    records = [PortRecord(ContainerPort(53, Protocol.UDP), "127.0.0.1", 5353), PortRecord(WEB, "", 8080, any_ipv6=True)]
    assert parse_note(format_note(records)) == records
    assert records[0].published == (PublishedPort(ContainerPort(53, Protocol.UDP), "127.0.0.1", 5353),)
    assert [port.host_ip for port in records[1].published] == ["0.0.0.0", "::"]


def test_waves_keep_who_is_choosy_in_front() -> None:
    free, ranged, fixed = PortBinding(WEB), PortBinding(WEB, "", 8000, 8010), PortBinding(WEB, "", 8000)
    assert plan_waves([free, ranged, fixed, free]) == [[fixed], [ranged], [free]]
    assert plan_waves([]) == []


def test_refusals_are_dockers() -> None:
    failure = refusal(PortBinding(WEB, "", 8080), errno.EADDRINUSE, "::", "box (1)")
    assert isinstance(failure, AddressInUse)
    assert failure.message == (
        "driver failed programming external connectivity on endpoint box (1): "
        "Error starting userland proxy: listen tcp6 [::]:8080: bind: address already in use"
    )
    assert "-p 8081:80" in failure.hint
    privileged = refusal(PortBinding(WEB, "", 80), errno.EACCES, "0.0.0.0", "box (1)", "ask the host")
    assert privileged.message.endswith("listen tcp4 0.0.0.0:80: bind: permission denied")
    assert privileged.hint == "ask the host"


def test_both_families_of_a_port_are_one_binding() -> None:
    ports = [PublishedPort(WEB, address, 8080) for address in ("0.0.0.0", "::")]
    assert plan_bindings(ports) == [PortBinding(WEB, "", 8080)]
    assert plan_bindings(ports[:1]) == [PortBinding(WEB, "0.0.0.0", 8080)]
    assert plan_bindings(ports[1:]) == [PortBinding(WEB, "::", 8080)]
    assert plan_bindings([PublishedPort(WEB, "127.0.0.1", 1)]) == [PortBinding(WEB, "127.0.0.1", 1)]


def test_a_port_that_another_container_has() -> None:
    """docker's allocator refuses it before the kernel is asked, in words that everybody searches for."""
    ours = [PublishedPort(ContainerPort(80), "0.0.0.0", 8080), PublishedPort(ContainerPort(80), "127.0.0.1", 9000)]
    for host_ip, port, clash in (
        ("", 8080, "0.0.0.0"),
        ("127.0.0.1", 8080, "127.0.0.1"),
        ("::1", 8080, ""),
        ("0.0.0.0", 9000, "0.0.0.0"),
        ("127.0.0.2", 9000, ""),
        ("", 8081, ""),
    ):
        assert find_clash(PortBinding(ContainerPort(81), host_ip, port), ours) == clash
    assert find_clash(PortBinding(ContainerPort(81, Protocol.UDP), "", 8080), ours) == ""
    failure = allocated(PortBinding(ContainerPort(80), "", 8080), "0.0.0.0", "web (1)", "f" * 64)
    assert failure.message == (
        "driver failed programming external connectivity on endpoint web (1): "
        "Bind for 0.0.0.0:8080 failed: port is already allocated"
    )
    assert "container ffffffffffff publishes it" in failure.hint
