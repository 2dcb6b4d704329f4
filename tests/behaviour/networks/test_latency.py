"""A port on 127.0.0.1 costs at most 1.2 times the container's own address; adding one takes under a millisecond."""

from __future__ import annotations

import asyncio
import socket
import statistics
import time

from tests.behaviour.networks.isolation import isolated
from tests.behaviour.networks.surroundings import ID, binding, connected, in_loop, make_host, networks, python_in

#: Interleaved, so that other load on the machine meets both alike.
ROUNDS = 400
SERVER = """
import socket
listener = socket.create_server(("0.0.0.0", 7), backlog=64)
print("ready", flush=True)
while True:
    client, _ = listener.accept()
    client.recv(100)
    client.sendall(b"x" * 100)
    client.close()
"""


def exchange(address: str, port: int) -> float:
    """Seconds from connect to the peer's close."""
    began = time.perf_counter()
    with socket.create_connection((address, port)) as one:
        one.sendall(b"request")
        while one.recv(1000):
            pass
    return time.perf_counter() - began


def measure(own: str) -> tuple[float, float]:
    """Medians of the container's own address and of 127.0.0.1, in microseconds."""
    direct, published = [], []
    for _ in range(ROUNDS):
        direct.append(exchange(own, 7))
        published.append(exchange("127.0.0.1", 8080))
    return statistics.median(direct) * 1e6, statistics.median(published) * 1e6


@isolated
@in_loop
async def test_loopback_is_as_fast_as_the_containers_own_address() -> None:
    make_host()
    async with networks() as ours:
        attachment = connected(ours)
        await ours.publish(ID, attachment.endpoint.address, [binding(7, 8080)])
        with python_in(attachment.namespace, SERVER) as server:
            assert server.stdout is not None and server.stdout.readline() == "ready\n"
            tries = [await asyncio.to_thread(measure, attachment.endpoint.address) for _ in range(2)]
    print("own address / 127.0.0.1, us:", tries)
    assert min(published / direct for direct, published in tries) < 1.2


@isolated
@in_loop
async def test_adding_a_port_takes_under_a_millisecond() -> None:
    make_host()
    async with networks() as ours:
        address = connected(ours).endpoint.address
        seconds = []
        for number in range(30):
            reservation = await ours.reserve(f"{number:064}", [binding(7, 9000 + number)])
            began = time.perf_counter()
            await ours.activate(reservation, address)
            seconds.append(time.perf_counter() - began)
        print("activate: median ms", statistics.median(seconds) * 1000, "least", min(seconds) * 1000)
        assert min(seconds) < 0.001
