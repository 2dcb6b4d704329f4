"""Beside docker's firewall: FORWARD drops by default, whether docker came before us or comes after."""

from __future__ import annotations

import asyncio

import pytest

from guest_agent.networks.networks import Networks
from tests.behaviour.networks.isolation import isolated
from tests.behaviour.networks.surroundings import (
    HOST_ADDRESS,
    ID,
    PEER_ADDRESS,
    binding,
    call_tcp,
    connected,
    in_loop,
    make_host,
    networks,
    serve_tcp,
    shell,
)

DOCKER = (
    "{0} -P FORWARD DROP",
    "{0} -N DOCKER-USER",
    "{0} -A DOCKER-USER -j RETURN",
    "{0} -I FORWARD -j DOCKER-USER",
)
UFW = ("{0} -P FORWARD DROP",)


def rules(program: str, commands: tuple[str, ...]) -> str:
    return "\n".join(command.format(program) for command in commands)


@isolated
@in_loop
async def test_beside_docker() -> None:
    await reach_both_ways("iptables-nft", DOCKER)


@isolated
@in_loop
async def test_beside_docker_with_legacy_iptables() -> None:
    try:
        shell("iptables-legacy -S")
    except Exception:
        pytest.skip("this kernel has no legacy iptables")
    await reach_both_ways("iptables-legacy", DOCKER)


@isolated
@in_loop
async def test_beside_a_firewall_that_forwards_nothing() -> None:
    await reach_both_ways("iptables-nft", UFW)


async def reach_both_ways(program: str, commands: tuple[str, ...]) -> None:
    peer = make_host()
    shell("sysctl -qw net.bridge.bridge-nf-call-iptables=1")
    shell(rules(program, commands))
    before = shell(f"{program} -S")
    serve_tcp(peer, 9)
    async with networks() as ours:
        await check_ways(ours, peer)
        ours.start()
        assert shell(f"{program} -S").count("-i hvtest0 -j ACCEPT") == 1
        await ours.remove_all()
    assert shell(f"{program} -S") == before


@isolated
@in_loop
async def test_docker_that_starts_after_us() -> None:
    peer = make_host()
    serve_tcp(peer, 9)
    async with networks() as ours:
        shell(rules("iptables-nft", DOCKER))
        await asyncio.sleep(0.6)
        await check_ways(ours, peer)


async def check_ways(ours: Networks, peer: int) -> None:
    one, two = connected(ours), connected(ours, "b" * 64)
    serve_tcp(one.namespace, 7)
    await ours.publish(ID, one.endpoint.address, [binding(7, 8080)])
    assert (await asyncio.to_thread(call_tcp, PEER_ADDRESS, 9, one.namespace)).endswith("hello")
    assert (await asyncio.to_thread(call_tcp, HOST_ADDRESS, 8080, peer)).endswith("hello")
    assert (await asyncio.to_thread(call_tcp, one.endpoint.address, 7, two.namespace)).endswith("hello")
