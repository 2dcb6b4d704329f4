"""Networks of users on the real kernel: the name server by UDP and TCP, crashes of the record's order, leftovers."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import tempfile

import pytest

from guest_agent.networks.bridge_driver import NAME_OPTION
from guest_agent.networks.membership import Membership
from guest_agent.networks.names import Asking
from guest_agent.networks.networks import Attachments, Networks
from guest_agent.networks.settings import NetworkSettings
from guest_agent.store.records import Records
from guest_agent.wire.errors import Forbidden, HostFailed
from guest_agent.wire.networks import AddressRange, EndpointSettings, Network
from tests.behaviour.networks.isolation import isolated
from tests.behaviour.networks.surroundings import (
    ID,
    OTHER_ID,
    MemoryHolder,
    binding,
    call_tcp,
    call_udp,
    in_loop,
    make_host,
    make_networks,
    networks,
    open_in,
    serve_tcp,
    serve_udp,
    shell,
    udp_binding,
)
from tests.behaviour.networks.test_names import ANSWER, ask, ask_by_stream, serve_names, settings

SETTINGS = NetworkSettings(bridge="hvtest0", table="hvtest")
BACK = "1" * 64
NO_PID = 1 << 23  #: beyond the kernel's PID_MAX_LIMIT


def made(ours: Networks, name: str = "back", internal: bool = False, ipv6: bool = False) -> Network:
    ranges = (AddressRange("10.77.0.0/24"),)
    identity = BACK if name == "back" else "2" * 64
    return ours.create(
        Network(identity, name, "bridge", 1, ranges if name == "back" else (), internal=internal, ipv6=ipv6)
    )


def member(network: Network, *names: str, address: str = "") -> Membership:
    return Membership(EndpointSettings(network.name, network.id, address=address), names)


def attached(ours: Networks, container_id: str, *members: Membership) -> Attachments:
    joined = ours.attach(container_id, members)
    ours.names.serve(container_id, joined.namespace, Asking())
    return joined


def query(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def ask_for(namespace: int, name: str) -> bytes:
    one = open_in(namespace, socket.AF_INET, socket.SOCK_DGRAM)
    one.sendto(query(name), ("127.0.0.11", 53))
    return one.recv(1000)


def ask_twice_by_stream(namespace: int, name: str) -> list[bytes]:
    """Two queries on one connection."""
    one = open_in(namespace, socket.AF_INET, socket.SOCK_STREAM)
    one.connect(("127.0.0.11", 53))
    answers = []
    for _ in range(2):
        message = query(name)
        one.sendall(len(message).to_bytes(2) + message)
        answers.append(one.recv(int.from_bytes(one.recv(2, socket.MSG_WAITALL)), socket.MSG_WAITALL))
    return answers


@isolated
@in_loop
async def test_names_by_udp_and_tcp_and_what_is_unknown_goes_to_the_host_s_servers() -> None:
    make_host()
    serve_names("127.0.0.53")
    async with networks(settings=settings("127.0.0.53")) as ours:
        back = made(ours)
        one = attached(ours, ID, member(back, "web"))
        attached(ours, OTHER_ID, member(back, "database", "db", address="10.77.0.9"))
        for name in ("db", "Database.BACK"):
            assert (await asyncio.to_thread(ask_for, one.namespace, name)).endswith(bytes([10, 77, 0, 9]))
        answers = await asyncio.to_thread(ask_twice_by_stream, one.namespace, "db")
        assert [answer[-4:] for answer in answers] == [bytes([10, 77, 0, 9])] * 2
        assert await asyncio.to_thread(ask, one.namespace) == ANSWER
        assert await asyncio.to_thread(ask_by_stream, one.namespace) == ANSWER


@isolated
@in_loop
async def test_an_internal_network_asks_nobody_and_a_container_s_own_servers_are_asked() -> None:
    make_host()
    serve_names("127.0.0.99")
    async with networks(settings=settings("127.0.0.98")) as ours:
        vault = made(ours, "vault", internal=True)
        hidden = attached(ours, ID, member(vault, "hidden"))
        assert (await asyncio.to_thread(ask, hidden.namespace))[3] & 0xF == 2
        open_one = ours.attach(OTHER_ID, [member(made(ours), "open")])
        ours.names.serve(OTHER_ID, open_one.namespace, Asking(("127.0.0.99",)))
        assert await asyncio.to_thread(ask, open_one.namespace) == ANSWER


@isolated
@in_loop
async def test_the_next_engine_has_everything_and_what_nobody_knows_goes() -> None:
    """A network whose record is gone (the engine was killed between the two) leaves no bridge behind."""
    make_host()
    folder, holder = tempfile.mkdtemp(), MemoryHolder()
    records = Records(f"{folder}/engine.db", f"{folder}/set-aside")
    first = make_networks(SETTINGS, holder, records)
    first.start()
    back, other = made(first, ipv6=True), made(first, "other", ipv6=True)
    joined = attached(first, ID, member(back, "web"))
    first.close()
    records.delete("network", other.id)
    second = make_networks(SETTINGS, holder, records)
    second.start()
    second.reconcile({ID: (joined.endpoints, ())})
    links = shell("ip -o link")
    assert f"br-{back.id[:12]}" in links and f"br-{other.id[:12]}" not in links
    assert (await asyncio.to_thread(ask_for, joined.namespace, "web"))[3] & 0xF == 0
    assert second.attach(OTHER_ID, [member(back)]).endpoints[0].address != joined.endpoints[0].address
    await second.remove_all()
    os.close(joined.namespace)
    assert "hvtest" not in shell("nft list ruleset") and "br-" not in shell("ip -o link")


@isolated
@in_loop
async def test_who_comes_by_ipv6_is_led_to_the_address_of_ipv6() -> None:
    """By IPv4 where nobody listens there; and who comes by IPv4 never to the other."""
    make_host()
    async with networks() as ours:
        joined = attached(ours, ID, member(made(ours, ipv6=True)))
        place = joined.endpoints[0]
        bindings = [kind(port, 8000 + port) for port in (6, 4, 5) for kind in (binding, udp_binding)]
        await ours.publish(ID, place.address, bindings, place.address6)
        for serve in (serve_tcp, serve_udp):
            serve(joined.namespace, 6, address=place.address6)
            serve(joined.namespace, 4)
        for call in (call_tcp, call_udp):
            assert await asyncio.to_thread(call, "::1", 8006) == f"{place.gateway6} hello"
            assert await asyncio.to_thread(call, "::1", 8004) == f"{place.gateway} hello"
            assert await asyncio.to_thread(call, "127.0.0.1", 8004) == f"{place.gateway} hello"
            for address, port in (("127.0.0.1", 8006), ("::1", 8005)):
                with pytest.raises(OSError):
                    await asyncio.to_thread(call, address, port)
        os.close(joined.namespace)


@isolated
@in_loop
async def test_what_the_user_deleted_comes_back() -> None:
    make_host()
    async with networks() as ours:
        back = made(ours)
        shell(f"ip link del br-{back.id[:12]}")
        joined = ours.attach(ID, [member(back)])
        assert joined.endpoints[0].host_interface in shell(f"ip -o link show master br-{back.id[:12]}")


@isolated
@in_loop
async def test_a_failed_attach_leaves_nothing() -> None:
    make_host()
    async with networks() as ours:
        back = made(ours)
        taken = ours.attach(ID, [member(back, address="10.77.0.9")])
        descriptors = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            with pytest.raises(Forbidden, match="Address already in use"):
                ours.attach(OTHER_ID, [member(ours.all()[0]), member(back, address="10.77.0.9")])
        assert len(os.listdir("/proc/self/fd")) == descriptors
        ours.disconnect(ID, taken.endpoints[0])
        assert ours.attach(OTHER_ID, [member(back, address="10.77.0.9")]).endpoints[0].address == "10.77.0.9"


@isolated
@in_loop
async def test_interfaces_that_others_made_stay_theirs() -> None:
    """A named bridge is used as it is; of another kind it is refused. Neither goes with the network, or the engine."""
    make_host()
    shell("ip link add wg0 type veth peer name wg1", "ip link add br0 type bridge")
    shell("ip address add 10.66.0.1/24 dev br0")
    async with networks() as ours:
        with pytest.raises(HostFailed, match="isn't a bridge"):
            ours.create(Network(BACK, "back", "bridge", 1, options={NAME_OPTION: "wg0"}))
        ours.remove(ours.create(Network(BACK, "back", "bridge", 1, options={NAME_OPTION: "br0"})))
        assert _theirs() == {"wg0", "br0"}
        ours.create(Network(BACK, "back", "bridge", 1, options={NAME_OPTION: "br0"}))
        await ours.remove_all()
        assert _theirs() == {"wg0", "br0"} and "10.66.0.1/24" in shell("ip address show br0")


def _theirs() -> set[str]:
    return {name for name in ("wg0", "br0") if f" {name}" in shell("ip -o link")}


@isolated
@in_loop
async def test_a_container_that_has_just_ended_leaves_its_address() -> None:
    make_host()
    async with networks() as ours:
        back = made(ours)
        joined = ours.attach(ID, [member(back)])
        assert ours.is_used(back.id)
        with pytest.raises(HostFailed):
            await ours.leave(ID, NO_PID, joined.endpoints[0], ())
        assert not ours.is_used(back.id)
        again = ours.attach(OTHER_ID, [member(back, address=joined.endpoints[0].address)])
        assert again.endpoints[0].address == joined.endpoints[0].address
