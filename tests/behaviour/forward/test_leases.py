"""Published ports of a machine, by the real channel and agent: who gets through, and what survives which death."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time

import pytest

from guest_agent.networks.exposure import LeasedExposure
from guest_agent.networks.listeners import Exposure, Listener, format_exposures
from guest_agent.wire.errors import AddressInUse, Forbidden, HostFailed
from guest_agent.wire.models import ContainerPort, PortBinding, Protocol
from hostvm.forward import table as table_module
from hostvm.forward.rules import PortRules, parse_rules
from tests.behaviour.forward.surroundings import (
    ID,
    OTHER_ID,
    Machine,
    call,
    call_udp,
    echo_server,
    in_loop,
    is_free,
    machine,
    published,
    udp_server,
    until,
)
from tests.behaviour.networks.surroundings import MemoryHolder

WEB = ContainerPort(80)


@in_loop
async def test_a_port_is_reached_by_both_families_when_serve_returns() -> None:
    async with machine() as one, echo_server() as server:
        port = await published(one.gateway(), server)
        assert [p.host_ip for p in port.record.published] == ["0.0.0.0", "::"]
        for address in ("127.0.0.1", "::1"):
            assert await call(port.record.host_port, address=address) == b"helloend"


@in_loop
async def test_order_size_and_half_close_are_kept() -> None:
    async with machine() as one, echo_server() as server:
        port = await published(one.gateway(), server)
        data = os.urandom(1 << 20) * 8
        reader, writer = await asyncio.open_connection("127.0.0.1", port.record.host_port)
        received = asyncio.create_task(reader.read())
        writer.write(data)
        writer.write_eof()
        assert await received == data + b"end"
        writer.close()


@in_loop
async def test_a_connection_to_nobody_is_cut() -> None:
    async with machine() as one:
        port = await published(one.gateway(), 1)
        with pytest.raises(ConnectionError):
            assert await call(port.record.host_port) == b"reset"


@in_loop
async def test_who_comes_before_the_container_is_ready_waits_for_it() -> None:
    async with machine() as one, echo_server() as server:
        (port,) = await one.gateway().hold([PortBinding(ContainerPort(server))], ID, "box (1)")
        early = asyncio.create_task(call(port.record.host_port))
        await asyncio.sleep(0.1)
        await port.serve("127.0.0.1")
        assert await early == b"helloend"


@in_loop
async def test_datagrams_of_both_families_come_back_whole() -> None:
    async with machine() as one:
        with udp_server() as server:
            port = await published(one.gateway(), server, protocol=Protocol.UDP)
            for address in ("127.0.0.1", "::1"):
                for size in (0, 1, 1400, 9000):
                    answer = await asyncio.to_thread(call_udp, port.record.host_port, b"x" * size, address)
                    assert answer == b"echo " + b"x" * size
            assert one.table.connections == 8


@in_loop
async def test_datagrams_by_ipv6_go_to_the_address_of_ipv6_and_where_nobody_is_there_to_the_other() -> None:
    """As natively: nobody's datagrams come to the one by IPv4, and the one that was refused isn't lost."""
    async with machine() as one:
        with udp_server() as server, udp_server("::1", server, b"six"):
            port = await published(one.gateway(), server, protocol=Protocol.UDP, address6="::1")
            for address, answer in (("::1", b"six hello"), ("127.0.0.1", b"echo hello")):
                assert await asyncio.to_thread(call_udp, port.record.host_port, b"hello", address) == answer
        with udp_server() as server:
            port = await published(one.gateway(), server, protocol=Protocol.UDP, address6="::1")
            assert await asyncio.to_thread(call_udp, port.record.host_port, b"hello", "::1") == b"echo hello"


@in_loop
async def test_a_taken_port_is_dockers_error_and_holds_nothing() -> None:
    async with machine() as one:
        taken = socket.create_server(("127.0.0.1", 0))
        number, gateway = taken.getsockname()[1], one.gateway()
        with pytest.raises(AddressInUse) as caught:
            await gateway.hold([PortBinding(WEB), PortBinding(WEB, "", number)], ID, "box (1)")
        assert caught.value.message == (
            "driver failed programming external connectivity on endpoint box (1): "
            f"Error starting userland proxy: listen tcp4 0.0.0.0:{number}: bind: address already in use"
        )
        assert f"-p {number + 1}:80" in caught.value.hint
        await until(lambda: not one.table.status())
        with pytest.raises(HostFailed, match=r"listen udp4 203.0.113.9:53: bind: cannot assign requested address"):
            await gateway.hold([PortBinding(ContainerPort(53, Protocol.UDP), "203.0.113.9", 53)], ID, "box (1)")
        taken.close()
        assert (await gateway.hold([PortBinding(WEB, "", number)], ID, "box (1)"))[0].record.host_port == number


@in_loop
async def test_a_range_gives_the_first_free_port_and_many_ports_are_held_at_once() -> None:
    async with machine() as one:
        gateway = one.gateway()
        ranged = [PortBinding(WEB, "", 22000, 22002)] * 2
        first = await gateway.hold(ranged[:1], ID, "box (1)")
        second = await gateway.hold(ranged[:1], OTHER_ID, "box (2)")
        assert [first[0].record.host_port, second[0].record.host_port] == [22000, 22001]
        many = await gateway.hold([PortBinding(ContainerPort(n), "", 23000 + n) for n in range(1, 301)], ID, "box (1)")
        assert len(one.table.status()) == 302
        await asyncio.gather(*(port.release() for port in many))
        assert len(one.table.status()) == 2


@in_loop
async def test_a_released_port_is_free_at_once_and_its_connections_are_cut() -> None:
    async with machine() as one, echo_server() as server:
        port = await published(one.gateway(), server)
        number = port.record.host_port
        reader, writer = await asyncio.open_connection("127.0.0.1", number)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        assert not is_free(number)
        began = time.monotonic()
        await port.release()
        assert is_free(number) and time.monotonic() - began < 1
        with pytest.raises(ConnectionError):
            assert await reader.read() == b"reset"
        await port.release()
        writer.close()


@in_loop
async def test_five_hundred_connections_at_once_are_served() -> None:
    async with machine() as one, echo_server() as server:
        port = await published(one.gateway(), server)
        began = time.monotonic()
        answers = await asyncio.gather(*(call(port.record.host_port, b"%d" % n) for n in range(500)))
        took = time.monotonic() - began
        assert answers == [b"%dend" % n for n in range(500)]
        print("500 at once took", took)
        assert took < 20


@in_loop
async def test_an_engine_that_is_killed_changes_nothing() -> None:
    """Its successor has the lease's descriptor from the keeper."""
    async with machine() as one, echo_server() as server:
        port = await published(one.gateway(), server)
        kept = os.dup(port.fileno())
        record = port.record
        port.close()
        assert await call(record.host_port) == b"helloend"
        successor = one.gateway().take_back(kept, record, ID)
        successor.resume("127.0.0.1")
        assert await call(record.host_port) == b"helloend"
        await successor.release()
        assert is_free(record.host_port)


@in_loop
async def test_an_answer_for_a_predecessor_is_passed_over() -> None:
    async with machine() as one, echo_server() as server:
        (port,) = await one.gateway().hold([PortBinding(ContainerPort(server))], ID, "box (1)")
        os.write(port.fileno(), b'{"id":7,"op":"serve","address":"127.0.0.9","port":9}\n')
        successor = one.gateway().take_back(os.dup(port.fileno()), port.record, ID)
        port.close()
        await successor.serve("127.0.0.1")
        assert await call(port.record.host_port) == b"helloend"


@in_loop
async def test_an_agent_that_dies_takes_no_port_along() -> None:
    async with machine() as one, echo_server() as server:
        gateway = one.gateway()
        changed: list[str] = []
        gateway.changed = changed.append
        port = await published(gateway, server)
        one.kill_agent()
        await until(lambda: port.fileno() < 0)
        assert not is_free(port.record.host_port)
        one.start_agent()
        await until(lambda: port.fileno() >= 0)
        assert await call(port.record.host_port) == b"helloend"
        assert changed == [ID, ID]  # once lost, once held again
        await port.release()
        assert is_free(port.record.host_port)


@in_loop
async def test_a_supervisor_that_is_replaced_holds_the_ports_again() -> None:
    async with machine() as one, echo_server() as server:
        gateway = one.gateway()
        ports = [await published(gateway, server) for _ in range(20)]
        await one.kill_supervisor()
        await asyncio.sleep(0.3)
        await one.start_supervisor()
        await until(lambda: len(one.table.status()) == 20)
        await until(lambda: all(port["state"] == "serving" for port in one.table.status()))
        for port in ports:
            assert await call(port.record.host_port) == b"helloend"
        assert gateway.warnings == ()


@in_loop
async def test_a_port_that_somebody_took_meanwhile_is_named_and_tried_again() -> None:
    async with machine() as one, echo_server() as server:
        gateway = one.gateway()
        port = await published(gateway, server)
        number = port.record.host_port
        await one.kill_supervisor()
        thief = socket.create_server(("127.0.0.1", number))
        await one.start_supervisor()
        await until(lambda: any(f"*:{number}/tcp" in one and "already in use" in one for one in gateway.warnings))
        thief.close()
        await until(lambda: bool(one.table.status()))
        assert await call(number) == b"helloend"
        await until(lambda: gateway.warnings == ())


async def suspend(one: Machine) -> None:
    one.table.suspend()
    await one.channel.freeze(5)


async def resume(one: Machine) -> None:
    one.channel.thaw()
    await one.channel.wait_up(10)
    one.table.resume()


@in_loop
async def test_a_connection_wakes_a_suspended_machine_and_is_served() -> None:
    async with machine() as one, echo_server() as server:
        port = await published(one.gateway(), server)
        number = port.record.host_port
        await suspend(one)
        await until(lambda: one.table.status()[0]["state"] == "lost")
        assert not is_free(number) and one.wakes == 0
        early = [asyncio.create_task(call(number)) for _ in range(5)]
        await until(lambda: one.wakes == 1)
        await resume(one)
        began = time.monotonic()
        assert await asyncio.gather(*early) == [b"helloend"] * 5
        print("served", time.monotonic() - began, "s after the channel was back")
        assert one.wakes == 1


@in_loop
async def test_a_datagram_wakes_a_suspended_machine_and_is_answered() -> None:
    async with machine() as one:
        with udp_server() as server:
            port = await published(one.gateway(), server, protocol=Protocol.UDP)
            await suspend(one)
            await until(lambda: one.table.status()[0]["state"] == "lost")
            early = asyncio.create_task(asyncio.to_thread(call_udp, port.record.host_port))
            await until(lambda: one.wakes == 1)
            await resume(one)
            assert await early == b"echo hello"


def test_what_nobody_takes_over_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "GRACE_SECONDS", 0.3)

    @in_loop
    async def body() -> None:
        async with machine() as one, echo_server() as server:
            port = await published(one.gateway(), server)
            await suspend(one)
            await until(lambda: one.table.status()[0]["state"] == "lost")
            port.close()  # the container has ended, and its engine with it
            await asyncio.sleep(0.5)
            assert not is_free(port.record.host_port)
            await resume(one)
            await until(lambda: is_free(port.record.host_port), 5)
            assert one.table.status() == []

    body()


@in_loop
async def test_rules_are_kept_and_changed_while_ports_are_held() -> None:
    async with machine(parse_rules({"deny": "24001"}, "vm")) as one, echo_server() as server:
        gateway = one.gateway()
        with pytest.raises(Forbidden, match="deny port 24001/tcp"):
            await published(gateway, server, 24001)
        port = await published(gateway, server, 24002)
        one.table.set_rules(parse_rules({"deny": "24002"}, "vm"))
        assert is_free(24002)
        await until(lambda: any("deny port 24002/tcp" in warning for warning in gateway.warnings))
        one.table.set_rules(PortRules(bind="127.0.0.1"))
        narrow = await published(gateway, server, 24001)
        assert [p.host_ip for p in narrow.record.published] == ["127.0.0.1"]
        with pytest.raises(ConnectionRefusedError):
            await call(24001, address="::1")
        port.close()


async def hostile(one: Machine, *lines: bytes) -> list[dict[str, object]]:
    """What a guest hears that writes these lines to a lease, until the host has had enough of it."""
    reader, writer = await asyncio.open_unix_connection(one.host_socket)
    writer.write(b'{"to":"ports"}\n')
    answers = []
    for line in lines:
        writer.write(line)
        answer = await asyncio.wait_for(reader.readline(), 10)
        if not answer:
            break
        answers.append(json.loads(answer))
    writer.close()
    return answers


@pytest.mark.parametrize(
    "line",
    [
        b"garbage\n",
        b"[]\n",
        b'{"id":1,"op":"bind","protocol":"tcp","host_ip":"/run/engine.sock","port":80,"port_end":0,"container":"c"}\n',
        b'{"id":1,"op":"unix","path":"/x"}\n',
        b"x" * 70000 + b"\n",
        b'{"id":1,"op":"release","pad":"' + b"x" * 5000 + b'"}\n',
    ],
    ids=range(6),
)
def test_what_a_hostile_guest_says_ends_its_lease_and_no_other(line: bytes) -> None:
    @in_loop
    async def body() -> None:
        async with machine() as one, echo_server() as server:
            port = await published(one.gateway(), server)
            assert await hostile(one, line) == []
            assert len(one.table.status()) == 1
            assert await call(port.record.host_port) == b"helloend"

    body()


@in_loop
async def test_a_lease_holds_one_port_and_serves_only_what_it_holds() -> None:
    bind = b'{"id":%d,"op":"bind","protocol":"tcp","host_ip":"","port":0,"port_end":0,"container":"c"}\n'
    serve = b'{"id":3,"op":"serve","address":"127.0.0.1","port":80}\n'
    async with machine() as one:
        early, bound, twice, release, late = await hostile(
            one, serve, bind % 1, bind % 2, b'{"id":4,"op":"release"}\n', serve
        )
        assert "holds no port" in str(early) and bound["host_port"] and "holds a port already" in str(twice)
        assert release == {"id": 4} and "holds no port" in str(late)
        await until(lambda: one.table.status() == [])


def test_a_guest_cant_have_ports_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "MOST_PORTS", 5)
    monkeypatch.setattr(table_module, "_MOST_IDLE", 3)

    @in_loop
    async def body() -> None:
        async with machine() as one:
            gateway = one.gateway()
            with pytest.raises(Exception, match="holds 5 ports of this host already"):
                await gateway.hold([PortBinding(ContainerPort(n)) for n in range(1, 10)], ID, "box (1)")
            await until(lambda: one.table.status() == [])
            idle = [await asyncio.open_unix_connection(one.host_socket) for _ in range(6)]
            for _, writer in idle:
                writer.write(b'{"to":"ports"}\n')
            refused = [reader for reader, _ in idle[3:] if await asyncio.wait_for(reader.readline(), 10) == b""]
            assert len(refused) == 3
            for _, writer in idle:
                writer.close()

    body()


@in_loop
async def test_listeners_on_the_hosts_network_are_exposed_while_they_listen() -> None:
    async with machine() as one, echo_server() as server:
        gateway, holder = one.gateway(), MemoryHolder()
        listening: set[Listener] = set()
        exposure = LeasedExposure(gateway, holder, lambda: frozenset(listening))
        exposure.enter(ID)
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
            free = probe.getsockname()[1]
        listening.add(Listener(Protocol.TCP, "127.0.0.1", free))
        await until(lambda: bool(one.table.status()))
        (status,) = one.table.status()
        assert (status["host_ip"], status["host_port"], status["container"]) == ("127.0.0.1", free, "host-network")
        await until(lambda: holder.keys() == ["exposed:host"])
        listening.clear()
        await until(lambda: one.table.status() == [])
        await until(lambda: holder.keys() == [])
        listening.add(Listener(Protocol.TCP, "0.0.0.0", server))  # taken: by the very server
        await until(lambda: any(f"*:{server}/tcp" in warning for warning in gateway.warnings))
        exposure.leave(ID)
        await until(lambda: gateway.warnings == ())
        exposure.close()


@in_loop
async def test_what_is_exposed_survives_the_engine() -> None:
    async with machine() as one:
        gateway, holder = one.gateway(), MemoryHolder()
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
            free = probe.getsockname()[1]
        listening = frozenset([Listener(Protocol.TCP, "127.0.0.1", free)])
        first = LeasedExposure(gateway, holder, lambda: listening)
        first.enter(ID)
        await until(lambda: "exposed:host" in holder.held)
        first.close()
        assert one.table.status()
        note = holder.held["exposed:host"][1]
        assert note == format_exposures([Exposure(Protocol.TCP, "127.0.0.1", free, "127.0.0.1")])
        second = LeasedExposure(one.gateway(), holder, lambda: listening)
        second.adopt([ID])
        await asyncio.sleep(0.3)
        assert len(one.table.status()) == 1
        second.leave(ID)
        await until(lambda: one.table.status() == [])
        second.close()
