"""Published ports on the real kernel: from whom they are reached, who is kept out, and what survives a dead engine."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

import pytest

from guest_agent.linux.namespaces import inside_network_namespace
from guest_agent.networks.default_network import NetworkAttachment
from guest_agent.networks.networks import Networks
from guest_agent.networks.settings import NetworkSettings
from guest_agent.wire.errors import AddressInUse, HostFailed
from guest_agent.wire.models import ContainerPort, PortBinding, PublishedPort
from tests.behaviour.networks.isolation import isolated
from tests.behaviour.networks.surroundings import (
    HOST_ADDRESS,
    HOST_ADDRESS6,
    ID,
    OTHER_ID,
    MemoryHolder,
    binding,
    call_tcp,
    call_udp,
    connected,
    in_loop,
    make_host,
    make_networks,
    networks,
    serve_tcp,
    serve_udp,
    shell,
    udp_binding,
)

SETTINGS = NetworkSettings(bridge="hvtest0", table="hvtest")


async def published(ours: Networks, *bindings: PortBinding, container_id: str = ID) -> NetworkAttachment:
    """A container that serves 7/tcp and 7/udp, with these ports published."""
    attachment = connected(ours, container_id)
    serve_tcp(attachment.namespace, 7)
    serve_udp(attachment.namespace, 7)
    await ours.publish(container_id, attachment.endpoint.address, bindings)
    return attachment


async def tcp(address: str, port: int, namespace: int | None = None) -> str:
    return await asyncio.to_thread(call_tcp, address, port, namespace)


async def udp(address: str, port: int, namespace: int | None = None) -> str:
    return await asyncio.to_thread(call_udp, address, port, namespace)


@isolated
@in_loop
async def test_a_port_is_reached_from_everywhere() -> None:
    peer = make_host()
    async with networks() as ours:
        one = await published(ours, binding(7, 8080), udp_binding(7, 8080))
        other = connected(ours, OTHER_ID)
        gateway = one.endpoint.gateway
        for call in (tcp, udp):
            assert await call("127.0.0.1", 8080) == f"{gateway} hello"
            assert await call("127.9.9.9", 8080) == f"{gateway} hello"
            assert await call(HOST_ADDRESS, 8080) == f"{HOST_ADDRESS} hello"
            assert await call(HOST_ADDRESS, 8080, peer) == "198.51.100.2 hello"
            assert await call("::1", 8080) == f"{gateway} hello"
            assert await call(HOST_ADDRESS6, 8080, peer) == f"{gateway} hello"
            assert await call(gateway, 8080, other.namespace) == f"{gateway} hello"
            assert await call(HOST_ADDRESS, 8080, one.namespace) == f"{gateway} hello"
            assert await call(gateway, 8080, one.namespace) == f"{gateway} hello"


@isolated
@in_loop
async def test_with_bridge_netfilter_containers_reach_each_other_and_their_own_ports() -> None:
    make_host()
    shell("sysctl -qw net.bridge.bridge-nf-call-iptables=1")
    async with networks() as ours:
        one = await published(ours, binding(7, 8080))
        other = connected(ours, OTHER_ID)
        gateway = one.endpoint.gateway
        assert await tcp(one.endpoint.address, 7, other.namespace) == f"{other.endpoint.address} hello"
        assert (await tcp(gateway, 8080, other.namespace)).endswith(" hello")
        assert (await tcp(gateway, 8080, one.namespace)).endswith(" hello")


@isolated
@in_loop
async def test_a_port_of_127_0_0_1_is_not_reached_from_outside() -> None:
    peer = make_host()
    async with networks() as ours:
        one = await published(ours, binding(7, 8080, "127.0.0.1"), udp_binding(7, 8080, "127.0.0.1"))
        assert (await tcp("127.0.0.1", 8080)).endswith(" hello")
        assert (await udp("127.0.0.1", 8080)).endswith(" hello")
        for call in (tcp, udp):
            with pytest.raises(ConnectionRefusedError):
                await call(HOST_ADDRESS, 8080, peer)
            with pytest.raises(ConnectionRefusedError):
                await call("::1", 8080)
        with inside_network_namespace(peer):
            shell("sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.all.rp_filter=0")
            shell("ip addr del 127.0.0.1/8 dev lo", f"ip route add 127.0.0.1 via {HOST_ADDRESS}")
            shell(f"ip route add {one.endpoint.address} via {HOST_ADDRESS}")
        for address, port in (("127.0.0.1", 8080), (one.endpoint.address, 7)):
            with pytest.raises(TimeoutError):
                await tcp(address, port, peer)


@isolated
@in_loop
async def test_a_port_of_one_address_is_only_that_addresss() -> None:
    peer = make_host()
    async with networks() as ours:
        await published(ours, binding(7, 8080, HOST_ADDRESS), binding(7, 8081, "::1"), binding(7, 8082, "0.0.0.0"))
        assert (await tcp(HOST_ADDRESS, 8080, peer)).endswith("hello")
        assert (await tcp("::1", 8081)).endswith("hello")
        assert (await tcp("127.0.0.1", 8082)).endswith("hello")
        for address, port in (("127.0.0.1", 8080), ("127.0.0.1", 8081), ("::1", 8082)):
            with pytest.raises(ConnectionRefusedError):
                await tcp(address, port)


@isolated
@in_loop
async def test_a_taken_port_is_an_error_and_holds_nothing() -> None:
    make_host()
    holder = MemoryHolder()
    taken = socket.create_server(("127.0.0.1", 3306))
    async with networks(holder) as ours:
        with pytest.raises(AddressInUse) as caught:
            await ours.reserve(ID, [binding(80, 8080), binding(3306, 3306)], name="mysql")
        assert caught.value.message.startswith(
            "driver failed programming external connectivity on endpoint mysql ("
        ) and caught.value.message.endswith(
            "): Error starting userland proxy: listen tcp4 0.0.0.0:3306: bind: address already in use"
        )
        assert "-p 3307:3306" in caught.value.hint
        assert holder.keys() == []
        taken.close()
        socket.create_server(("0.0.0.0", 8080)).close()
        assert len((await ours.reserve(ID, [binding(3306, 3306)], name="mysql")).ports) == 2
        with pytest.raises(AddressInUse) as caught:
            await ours.reserve(OTHER_ID, [binding(80, 3306)], name="second")
        assert ID[:12] in caught.value.hint


@isolated
@in_loop
async def test_refusals_have_dockers_words() -> None:
    make_host()
    taken = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    taken.bind(("::", 8080))
    async with networks() as ours:
        with pytest.raises(AddressInUse, match=r"listen tcp6 \[::\]:8080: bind: address already in use"):
            await ours.reserve(ID, [binding(80, 8080)])
        with pytest.raises(HostFailed, match=r"listen udp4 203.0.113.9:53: bind: cannot assign requested address"):
            await ours.reserve(ID, [udp_binding(53, 53, "203.0.113.9")])


@isolated
@in_loop
async def test_the_kernel_or_a_range_gives_a_free_port() -> None:
    make_host()
    taken = socket.create_server(("127.0.0.1", 9000))
    ranged = PortBinding(ContainerPort(7), "", 9000, 9002)
    async with networks() as ours:
        attachment = connected(ours)
        serve_tcp(attachment.namespace, 7)
        ports = await ours.publish(ID, attachment.endpoint.address, [ranged, binding(7)])
        assert {port.host_port for port in ports if port.host_port < 9003} == {9001}
        for port in ports:
            assert (await tcp("::1" if port.host_ip == "::" else "127.0.0.1", port.host_port)).endswith("hello")
        assert (await ours.reserve(OTHER_ID, [ranged])).ports[0].host_port == 9002
        with pytest.raises(AddressInUse):
            await ours.reserve("c" * 64, [ranged])
    taken.close()


@isolated
@in_loop
async def test_a_range_of_many_ports_is_published_at_once() -> None:
    make_host()
    async with networks() as ours:
        attachment = connected(ours)
        serve_tcp(attachment.namespace, 299)
        await ours.publish(ID, attachment.endpoint.address, [binding(port, 20000 + port) for port in range(1, 301)])
        assert (await tcp("127.0.0.1", 20299)).endswith("hello")
        await ours.release(ID)
        assert "20299" not in shell("nft list table ip hvtest")


@isolated
@in_loop
async def test_released_ports_are_free_and_lead_nowhere() -> None:
    make_host()
    holder = MemoryHolder()
    async with networks(holder) as ours:
        await published(ours, binding(7, 8080), udp_binding(7, 8080))
        await ours.release(ID)
        await ours.release(ID)
        with pytest.raises(ConnectionRefusedError):
            await tcp("127.0.0.1", 8080)
        socket.create_server(("0.0.0.0", 8080)).close()
        assert holder.keys() == []


@isolated
@in_loop
async def test_a_udp_sender_that_never_pauses_follows_the_port_to_its_next_container() -> None:
    """The kernel translates by the flow's first packet: without forgetting it, the datagrams go to the dead one."""
    make_host()
    async with networks() as ours:
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(1.0)
        client.connect(("127.0.0.1", 8080))
        for container_id, word in ((ID, "one"), (OTHER_ID, "two")):
            attachment = connected(ours, container_id)
            server = serve_udp(attachment.namespace, 7, word)
            await ours.publish(container_id, attachment.endpoint.address, [udp_binding(7, 8080)])
            client.send(b"hello")
            assert await asyncio.to_thread(client.recv, 100) == f"{word} hello".encode()
            await ours.release(container_id)
            os.close(attachment.namespace)
            del server


@isolated
@in_loop
async def test_ports_and_connections_survive_a_killed_engine() -> None:
    """What a kill takes away are the engine's own descriptors: just that happens here to the first engine."""
    peer = make_host()
    holder = MemoryHolder()
    dead = make_networks(SETTINGS, holder)
    dead.start()
    one = await published(dead, binding(7, 8080), udp_binding(7, 8080))
    await published(dead, binding(7, 8081), container_id=OTHER_ID)
    standing = socket.create_connection(("127.0.0.1", 8080))
    standing.settimeout(1.0)
    standing.sendall(b"a")
    assert (await asyncio.to_thread(standing.recv, 100)).endswith(b" a")
    dead.close()
    assert (await tcp("127.0.0.1", 8080)).endswith("hello")
    with pytest.raises(OSError):
        socket.create_server(("0.0.0.0", 8080))
    waiting = asyncio.create_task(tcp("::1", 8080))
    await asyncio.sleep(0.05)
    ports = tuple(PublishedPort(ContainerPort(7), address, 8080) for address in ("0.0.0.0", "::"))
    async with networks(holder) as ours:
        ours.reconcile({ID: ((one.endpoint,), ports)})
        assert (await waiting).endswith("hello")
        assert (await udp("::1", 8080)).endswith("hello")
        assert (await tcp(HOST_ADDRESS, 8080, peer)).endswith("hello")
        standing.sendall(b"b")
        assert (await asyncio.to_thread(standing.recv, 100)).endswith(b" b")
        with pytest.raises(ConnectionRefusedError):
            await tcp("127.0.0.1", 8081)
        socket.create_server(("0.0.0.0", 8081)).close()
        assert connected(ours, OTHER_ID).endpoint.address != one.endpoint.address


@isolated
@in_loop
async def test_ports_are_bound_again_when_the_keeper_died_too() -> None:
    make_host()
    lost = MemoryHolder()
    dead = make_networks(SETTINGS, lost)
    dead.start()
    attachment = connected(dead)
    serve_tcp(attachment.namespace, 7)
    ports = await dead.publish(ID, attachment.endpoint.address, [binding(7, 8080), binding(7, 8081)])
    dead.close()
    for key in tuple(lost.held):
        lost.drop(key)
    taken = socket.create_server(("127.0.0.1", 8081))
    async with networks() as ours:
        ours.reconcile({ID: ((attachment.endpoint,), ports)})
        assert (await tcp("::1", 8080)).endswith("hello")
        assert any("8081" in warning for warning in ours.warnings)
    taken.close()


@isolated
@in_loop
async def test_flushed_rules_come_back_and_ports_work_meanwhile() -> None:
    make_host()
    async with networks() as ours:
        await published(ours, binding(7, 8080))
        shell("nft flush ruleset")
        assert (await tcp("127.0.0.1", 8080)).endswith("hello")
        await asyncio.sleep(0.5)
        assert "8080" in shell("nft list map ip hvtest any")


@isolated
@in_loop
async def test_a_relayed_stream_keeps_order_size_and_half_close() -> None:
    make_host()
    async with networks() as ours:
        await published(ours, binding(7, 8080))
        received = await asyncio.to_thread(_send_much)
        assert received.endswith(b"end") and received.count(b"x") == 8 << 20


def _send_much() -> bytes:
    one = socket.create_connection(("::1", 8080))

    def send() -> None:
        one.sendall(b"x" * (8 << 20))
        one.shutdown(socket.SHUT_WR)

    threading.Thread(target=send).start()
    chunks = []
    while data := one.recv(1 << 16):
        chunks.append(data)
    return b"".join(chunks)


@isolated
@in_loop
async def test_a_relayed_connection_to_nobody_is_reset() -> None:
    make_host()
    async with networks() as ours:
        attachment = connected(ours)
        await ours.publish(ID, attachment.endpoint.address, [binding(7, 8080)])
        with pytest.raises(ConnectionError):
            assert await tcp("::1", 8080) == "never"
        with pytest.raises(ConnectionRefusedError):
            await tcp("127.0.0.1", 8080)
