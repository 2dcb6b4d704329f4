"""Names in a container: the forwarder at 127.0.0.11, with sockets in the container and queries from the host."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import threading
import time

from guest_agent.networks.networks import Networks
from guest_agent.networks.settings import NetworkSettings
from tests.behaviour.networks.isolation import isolated
from tests.behaviour.networks.surroundings import (
    ID,
    MemoryHolder,
    connected,
    in_loop,
    make_host,
    make_networks,
    open_in,
)

QUERY = bytes.fromhex("12340100000100000000000003777777076578616d706c6503636f6d0000010001")
ANSWER = QUERY[:2] + b"\x81\x80" + QUERY[4:] + b"answer"


def settings(*servers: str) -> NetworkSettings:
    path = tempfile.mkdtemp() + "/resolv.conf"
    with open(path, "w") as file:
        file.write("".join(f"nameserver {server}\n" for server in servers) + "search example.com\n")
    return NetworkSettings(bridge="hvtest0", table="hvtest", upstream_resolv_conf=path)


def serve_names(address: str) -> None:
    """A server on the host's loopback that answers QUERY by UDP and by TCP."""
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((address, 53))
    streams = socket.create_server((address, 53))
    threading.Thread(target=_answer_datagrams, args=(datagrams,), daemon=True).start()
    threading.Thread(target=_answer_streams, args=(streams,), daemon=True).start()


def _answer_datagrams(datagrams: socket.socket) -> None:
    while True:
        query, client = datagrams.recvfrom(1000)
        datagrams.sendto(query[:2] + ANSWER[2:], client)


def _answer_streams(streams: socket.socket) -> None:
    while True:
        client, _ = streams.accept()
        size = int.from_bytes(client.recv(2), "big")
        assert client.recv(size) == QUERY
        client.sendall(len(ANSWER).to_bytes(2, "big") + ANSWER)
        client.close()


def ask(namespace: int) -> bytes:
    one = open_in(namespace, socket.AF_INET, socket.SOCK_DGRAM)
    one.sendto(QUERY, ("127.0.0.11", 53))
    return one.recv(1000)


def ask_by_stream(namespace: int) -> bytes:
    one = open_in(namespace, socket.AF_INET, socket.SOCK_STREAM)
    one.connect(("127.0.0.11", 53))
    one.sendall(len(QUERY).to_bytes(2, "big") + QUERY)
    size = int.from_bytes(one.recv(2, socket.MSG_WAITALL))
    return one.recv(size, socket.MSG_WAITALL)


def started(holder: MemoryHolder, ours_settings: NetworkSettings) -> tuple[Networks, int]:
    ours = make_networks(ours_settings, holder)
    ours.start()
    return ours, connected(ours).namespace


@isolated
@in_loop
async def test_a_server_on_the_hosts_loopback_answers_by_udp_and_tcp_and_after_a_kill() -> None:
    make_host()
    serve_names("127.0.0.53")
    holder, ours_settings = MemoryHolder(), settings("127.0.0.53")
    ours, namespace = started(holder, ours_settings)
    resolver = ours.names.resolver()
    assert resolver.text() == "nameserver 127.0.0.11\nsearch example.com\n" and resolver.wants_forwarder
    ours.names.serve(ID, namespace)
    assert await asyncio.to_thread(ask, namespace) == ANSWER
    assert await asyncio.to_thread(ask_by_stream, namespace) == ANSWER
    ours.close()
    waiting = asyncio.create_task(asyncio.to_thread(ask, namespace))
    await asyncio.sleep(0.1)
    successor = make_networks(ours_settings, holder)
    successor.start()
    successor.reconcile({ID: ((), ())})
    assert await waiting == ANSWER
    assert await asyncio.to_thread(ask_by_stream, namespace) == ANSWER
    successor.close()


@isolated
@in_loop
async def test_a_dead_server_is_passed_over_and_none_at_all_is_said() -> None:
    make_host()
    serve_names("127.0.0.53")
    ours_settings = settings("127.0.0.99", "127.0.0.53")
    ours, namespace = started(MemoryHolder(), ours_settings)
    ours.names.serve(ID, namespace)
    assert await asyncio.to_thread(ask, namespace) == ANSWER
    with open(ours_settings.upstream_resolv_conf, "w") as file:
        file.write("nameserver 127.0.0.98\n")
    failed = await asyncio.to_thread(ask, namespace)
    assert failed[:2] == QUERY[:2] and failed[3] & 0xF == 2
    ours.close()


@isolated
@in_loop
async def test_after_disconnect_nothing_keeps_the_namespace() -> None:
    make_host()
    holder = MemoryHolder()
    ours = make_networks(settings("127.0.0.53"), holder)
    ours.start()
    attachment = connected(ours)
    ours.names.serve(ID, attachment.namespace)
    ours.disconnect(ID, attachment.endpoint)
    ours.disconnect(ID, attachment.endpoint)
    os.close(attachment.namespace)
    deadline = time.monotonic() + 5
    while attachment.endpoint.host_interface in [name for _, name in socket.if_nameindex()]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert holder.keys() == []
    ours.close()
