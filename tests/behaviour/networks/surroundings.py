"""What the tests put around the networks under test: a host with an outside peer, containers that answer, a holder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from guest_agent.linux.namespaces import inside_network_namespace
from guest_agent.networks.default_network import NetworkAttachment
from guest_agent.networks.networks import Networks
from guest_agent.networks.settings import NetworkSettings
from guest_agent.store.records import Records
from guest_agent.wire.models import ContainerPort, PortBinding, Protocol

HOST_ADDRESS, PEER_ADDRESS = "198.51.100.1", "198.51.100.2"
HOST_ADDRESS6, PEER_ADDRESS6 = "2001:db8::1", "2001:db8::2"
ID, OTHER_ID = "a" * 64, "b" * 64
SECONDS = 5.0


class MemoryHolder:
    """The keeper's part, in this process: it survives as long as the test does."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[list[int], str]] = {}

    def hold(self, key: str, fds: Sequence[int], note: str) -> None:
        self.drop(key)
        self.held[key] = [os.dup(fd) for fd in fds], note

    def get(self, key: str) -> tuple[list[int], str]:
        fds, note = self.held.get(key, ([], ""))
        return [os.dup(fd) for fd in fds], note

    def drop(self, key: str) -> None:
        for fd in self.held.pop(key, ([], ""))[0]:
            os.close(fd)

    def keys(self) -> list[str]:
        return list(self.held)


def shell(*commands: str) -> str:
    """Runs them and answers their output; the test fails when one does."""
    return subprocess.run(["sh", "-ec", "\n".join(commands)], check=True, capture_output=True, text=True).stdout


def make_host() -> int:
    """This namespace becomes a host with a default route to a peer; answers a descriptor of the peer's namespace."""
    peer = subprocess.Popen(["unshare", "--net", "sleep", "60"])
    _wait_until_unshared(peer.pid)
    shell(
        "ip link set lo up",
        f"ip link add outside type veth peer name eth0 netns {peer.pid}",
        f"ip addr add {HOST_ADDRESS}/24 dev outside && ip -6 addr add {HOST_ADDRESS6}/64 dev outside nodad",
        "ip link set outside up",
        f"ip route add default via {PEER_ADDRESS}",
        f"nsenter -t {peer.pid} -n ip addr add {PEER_ADDRESS}/24 dev eth0",
        f"nsenter -t {peer.pid} -n ip -6 addr add {PEER_ADDRESS6}/64 dev eth0 nodad",
        f"nsenter -t {peer.pid} -n ip link set eth0 up",
        f"nsenter -t {peer.pid} -n ip link set lo up",
    )
    namespace = os.open(f"/proc/{peer.pid}/ns/net", os.O_RDONLY)
    peer.kill()
    peer.wait()
    return namespace


def _wait_until_unshared(pid: int) -> None:
    own = os.readlink("/proc/self/ns/net")
    while os.readlink(f"/proc/{pid}/ns/net") == own:
        pass


def make_networks(settings: NetworkSettings, holder: MemoryHolder, records: Records | None = None) -> Networks:
    """Not started; with records of their own unless some are given."""
    folder = tempfile.mkdtemp()
    return Networks(settings, holder, records or Records(f"{folder}/engine.db", f"{folder}/set-aside"))


@contextlib.asynccontextmanager
async def networks(
    holder: MemoryHolder | None = None, settings: NetworkSettings | None = None
) -> AsyncIterator[Networks]:
    """Started networks, closed at the end as an engine's shutdown does."""
    ours = make_networks(settings or NetworkSettings(bridge="hvtest0", table="hvtest"), holder or MemoryHolder())
    try:
        ours.start()
        yield ours
    finally:
        ours.close()


def connected(ours: Networks, container_id: str = ID) -> NetworkAttachment:
    return ours.connect(container_id)


def binding(target: int, host_port: int = 0, host_ip: str = "", protocol: Protocol = Protocol.TCP) -> PortBinding:
    return PortBinding(ContainerPort(target, protocol), host_ip, host_port)


def udp_binding(target: int, host_port: int = 0, host_ip: str = "") -> PortBinding:
    return binding(target, host_port, host_ip, Protocol.UDP)


def open_in(namespace: int, family: int, kind: int) -> socket.socket:
    """A socket that lives in that namespace."""
    with inside_network_namespace(namespace):
        one = socket.socket(family, kind)
    one.settimeout(SECONDS)
    return one


def serve_tcp(namespace: int, port: int, address: str = "0.0.0.0") -> socket.socket:
    """In a thread: answers each line with "<client's address> <line>"; goes on until the client closes."""
    listener = open_in(namespace, socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((address, port))
    listener.listen(16)
    listener.settimeout(None)
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    return listener


def _accept(listener: socket.socket) -> None:
    while True:
        client, address = listener.accept()
        threading.Thread(target=_answer, args=(client, address[0]), daemon=True).start()


def _answer(client: socket.socket, address: str) -> None:
    with client:
        while data := client.recv(65536):
            client.sendall(address.encode() + b" " + data)
        client.sendall(b"end")


def serve_udp(namespace: int, port: int, word: str = "", address: str = "0.0.0.0") -> socket.socket:
    """In a thread: answers each datagram with "<word or the client's address> <datagram>"."""
    one = open_in(namespace, family_of(address), socket.SOCK_DGRAM)
    one.settimeout(None)
    one.bind((address, port))
    threading.Thread(target=_answer_datagrams, args=(one, word), daemon=True).start()
    return one


def _answer_datagrams(one: socket.socket, word: str) -> None:
    while True:
        data, client = one.recvfrom(65536)
        one.sendto((word or client[0]).encode() + b" " + data, client)


def call_tcp(address: str, port: int, namespace: int | None = None, source: str = "") -> str:
    """Connects (from that namespace), says hello, answers what came back. Raises OSError."""
    with own_or(namespace), socket.socket(family_of(address), socket.SOCK_STREAM) as one:
        one.settimeout(SECONDS)
        if source:
            one.bind((source, 0))
        one.connect((address, port))
        one.sendall(b"hello")
        return one.recv(1000).decode()


def call_udp(address: str, port: int, namespace: int | None = None) -> str:
    with own_or(namespace), socket.socket(family_of(address), socket.SOCK_DGRAM) as one:
        one.settimeout(1.0)
        one.connect((address, port))
        one.send(b"hello")
        return one.recv(1000).decode()


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def own_or(namespace: int | None) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if namespace is None else inside_network_namespace(namespace)


@contextlib.contextmanager
def python_in(namespace: int, code: str) -> Iterator[subprocess.Popen[str]]:
    """A process of its own inside that namespace, for what must not share our interpreter."""
    enter = ["nsenter", f"--net=/proc/self/fd/{namespace}", sys.executable, "-I", "-c", code]
    process = subprocess.Popen(enter, pass_fds=[namespace], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def in_loop(body: Callable[[], object]) -> Callable[[], None]:
    """The test is a coroutine function."""

    def run() -> None:
        asyncio.run(asyncio.wait_for(body(), 30))  # type: ignore[arg-type]

    run.__name__, run.__module__ = body.__name__, body.__module__
    return run
