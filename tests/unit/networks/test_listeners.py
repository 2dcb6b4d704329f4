"""What listens on the host's network, read from the kernel's tables, and what of it is exposed."""

from __future__ import annotations

import socket

from guest_agent.networks.exposure import read_listeners
from guest_agent.networks.listeners import (
    Exposure,
    Listener,
    format_exposures,
    parse_exposures,
    parse_sockets,
    plan_exposures,
)
from guest_agent.wire.models import Protocol

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TCP = (
    HEAD
    + "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n"
    + "   1: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1\n"
    + "   2: 0F02000A:9C40 0202000A:0050 01 00000000:00000000 00:00000000 00000000     0        0 3 1\n"
    + "garbage\n"
)
TCP6 = (
    HEAD
    + "   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0 0\n"
    + "   1: 0000000000000000FFFF00000100007F:1F91 00000000000000000000000000000000:0000 0A 0 0\n"
    + "   2: 00000000000000000000000001000000:1F92 00000000000000000000000000000000:0000 0A 0 0\n"
)
UDP = (
    HEAD
    + "   0: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4 2\n"
    + "   1: 00000000:A000 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 5 2\n"
    + "   2: 0F02000A:0044 0202000A:0043 01 00000000:00000000 00:00000000 00000000     0        0 6 2\n"
)


def test_listeners_are_told_from_connections_and_clients() -> None:
    assert parse_sockets(TCP, Protocol.TCP) == {
        Listener(Protocol.TCP, "0.0.0.0", 8080),
        Listener(Protocol.TCP, "127.0.0.1", 5432),
    }
    assert parse_sockets(TCP6, Protocol.TCP) == {
        Listener(Protocol.TCP, "::", 8080),
        Listener(Protocol.TCP, "127.0.0.1", 8081),
        Listener(Protocol.TCP, "::1", 8082),
    }
    assert parse_sockets(UDP, Protocol.UDP) == {Listener(Protocol.UDP, "0.0.0.0", 53)}


def test_this_kernels_tables_are_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert Listener(Protocol.TCP, "127.0.0.1", server.getsockname()[1]) in read_listeners()


def test_a_listener_is_exposed_as_widely_as_it_listens() -> None:
    tcp = Protocol.TCP
    listeners = [Listener(tcp, address, 80) for address in ("0.0.0.0", "::", "127.0.0.1")]
    listeners += [Listener(tcp, "127.0.0.1", 81), Listener(tcp, "::1", 81), Listener(tcp, "::", 82)]
    listeners += [Listener(tcp, "172.17.0.1", 83), Listener(tcp, "10.0.2.15", 84)]
    assert plan_exposures(listeners) == {
        Exposure(tcp, "", 80, "127.0.0.1"),
        Exposure(tcp, "127.0.0.1", 81, "127.0.0.1"),
        Exposure(tcp, "::1", 81, "::1"),
        Exposure(tcp, "", 82, "::1"),
    }


def test_what_is_exposed_is_written_down() -> None:
    exposures = [Exposure(Protocol.UDP, "", 53, "127.0.0.1")]
    assert parse_exposures(format_exposures(exposures)) == exposures
    assert parse_exposures("") == []
