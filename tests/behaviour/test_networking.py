"""Published ports on every address, TCP and UDP; the way out; resolver; host and none networks."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.waiting import patience, wait_for
from tests.behaviour.harness.worker import OUTSIDE_ADDRESS, OWN_ADDRESS, OWN_ADDRESS6, Worker

#: Answer a line with "hello" and the line. In perl, which is in every Debian; Debian's busybox has no such server.
TCP_SCRIPT = """
use IO::Socket::INET;
my $listener = IO::Socket::INET->new(Listen => 128, LocalPort => 80, ReuseAddr => 1) or die $!;
while (my $client = $listener->accept) { my $line = <$client>; print $client "hello $line"; close $client }
"""
UDP_SCRIPT = """
use IO::Socket::INET;
my $socket = IO::Socket::INET->new(Proto => "udp", LocalPort => 53) or die $!;
while (1) { $socket->recv(my $line, 1000); $socket->send("hello $line") }
"""
LOOPBACK_SCRIPT = TCP_SCRIPT.replace("LocalPort => 80", 'LocalAddr => "127.0.0.2", LocalPort => 7100')
SERVER = ("debian:bookworm", "perl", "-e", TCP_SCRIPT)
UDP_SERVER = ("debian:bookworm", "perl", "-e", UDP_SCRIPT)


def ask(host: str, port: int, word: str = "you") -> str:
    """One line there, everything back."""
    with socket.create_connection((host, port), timeout=patience(10)) as connection:
        connection.sendall(word.encode() + b"\n")
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode().strip()


def ask_soon(host: str, port: int) -> str:
    """The server listens a moment after `run -d` has returned."""

    def attempt() -> str | None:
        try:
            return ask(host, port)
        except OSError:
            return None

    return wait_for(attempt, f"an answer from {host}:{port}")


@pytest.fixture
def server(machine: Machine) -> Machine:
    machine("run", "-d", "--name", "server", "-p", "8080:80", *SERVER)
    return machine


def test_on_loopback_and_own_address(server: Machine) -> None:
    assert ask_soon("127.0.0.1", 8080) == "hello you"
    assert ask(OWN_ADDRESS, 8080) == "hello you"


def test_on_its_own_address_where_the_engine_is(server: Machine) -> None:
    ask_soon("127.0.0.1", 8080)
    program = (
        "import socket, sys; s = socket.create_connection((sys.argv[1], 80)); s.sendall(b'you\\n'); print(s.recv(99))"
    )
    assert server.python_inside(program, server.address("server")) == repr(b"hello you\n")


def test_on_ipv6(server: Machine) -> None:
    assert ask_soon("::1", 8080) == "hello you"
    assert ask(OWN_ADDRESS6, 8080) == "hello you"


def test_from_outside(server: Machine, worker: Worker) -> None:
    ask_soon("127.0.0.1", 8080)
    with worker.on_outside():
        assert ask(OWN_ADDRESS, 8080) == "hello you"
        assert ask(OWN_ADDRESS6, 8080) == "hello you"


def test_from_another_container_by_the_host_s_address(server: Machine) -> None:
    ask_soon("127.0.0.1", 8080)
    words = ("run", "--rm", "busybox", "sh", "-c", f"echo me | nc {OWN_ADDRESS} 8080")
    assert server(*words) == "hello me"


def test_the_port_closes_with_the_container(server: Machine) -> None:
    ask_soon("127.0.0.1", 8080)
    server("stop", "-t", "0", "server")
    with pytest.raises(ConnectionRefusedError):
        ask("127.0.0.1", 8080)
    server("start", "server")
    assert ask_soon("127.0.0.1", 8080) == "hello you"


def test_a_port_for_one_address_only(machine: Machine, worker: Worker) -> None:
    machine("run", "-d", "-p", "127.0.0.1:8081:80", *SERVER)
    assert ask_soon("127.0.0.1", 8081) == "hello you"
    with worker.on_outside(), pytest.raises(OSError):
        ask(OWN_ADDRESS, 8081)
    with pytest.raises(ConnectionRefusedError):
        ask(OWN_ADDRESS, 8081)


def test_a_chosen_port_and_a_range(machine: Machine) -> None:
    machine("run", "-d", "--name", "chosen", "-p", "80", *SERVER)
    address, _, port = machine("port", "chosen", "80/tcp").splitlines()[0].rpartition(":")
    assert (address, int(port) > 1023) == ("0.0.0.0", True)
    assert ask_soon("127.0.0.1", int(port)) == "hello you"
    machine("run", "-d", "--name", "ranges", "-p", "9000-9002:80-82", *SERVER)
    assert machine("port", "ranges", "81").splitlines()[0] == "0.0.0.0:9001"
    assert ask_soon("127.0.0.1", 9000) == "hello you"


def ask_by_datagram(address: str, port: int) -> bytes:
    """What answers "you", as soon as somebody does."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(patience(0.5))
        client.connect((address, port))

        def attempt() -> bytes | None:
            try:
                client.send(b"you\n")
                return client.recv(100)
            except OSError:
                return None

        return wait_for(attempt, "a datagram")


def test_the_first_free_port_of_a_range(machine: Machine) -> None:
    for name in ("one", "two"):
        machine("run", "-d", "--name", name, "-p", "9100-9101:80", *SERVER)
    ports = {machine("port", name, "80").splitlines()[0] for name in ("one", "two")}
    assert ports == {"0.0.0.0:9100", "0.0.0.0:9101"}


def test_publish_all(machine: Machine) -> None:
    machine("run", "-d", "--name", "all", "-P", "--expose", "80", *SERVER)
    port = int(machine("port", "all", "80").splitlines()[0].rpartition(":")[2])
    assert ask_soon("127.0.0.1", port) == "hello you"


@pytest.mark.parametrize("address", ["127.0.0.1", OWN_ADDRESS, "::1"])
def test_udp(machine: Machine, address: str) -> None:
    machine("run", "-d", "-p", "5353:53/udp", *UDP_SERVER)
    assert ask_by_datagram(address, 5353) == b"hello you\n"


def test_a_taken_port_is_an_error_before_anything_is_made(machine: Machine) -> None:
    with socket.create_server(("0.0.0.0", 8090)):
        complaint = machine.fails(125, "run", "-d", "--name", "late", "-p", "8090:80", *SERVER)
    assert "address already in use" in complaint and "8090" in complaint
    assert "late" not in machine("ps", "-a", "--filter", "status=running", "--format", "{{.Names}}")


def test_a_port_taken_by_another_container(server: Machine) -> None:
    complaint = server.fails(125, "run", "-d", "-p", "8080:80", *SERVER)
    assert "Bind for 0.0.0.0:8080 failed: port is already allocated" in complaint
    assert ask_soon("127.0.0.1", 8080) == "hello you"


@contextmanager
def outside_server(worker: Worker) -> Iterator[list[str]]:
    """Listens on port 7000 of the outside peer; the list fills with the addresses that connected."""
    callers: list[str] = []
    with worker.on_outside():
        listener = socket.create_server((OUTSIDE_ADDRESS, 7000))

    def serve() -> None:
        with listener:
            connection, (address, _) = listener.accept()
            callers.append(address)
            with connection:
                connection.sendall(b"welcome\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield callers
    thread.join(patience(10))


def test_the_way_out_is_masqueraded(machine: Machine, worker: Worker) -> None:
    with outside_server(worker) as callers:
        assert machine("run", "--rm", "busybox", "nc", OUTSIDE_ADDRESS, "7000") == "welcome"
    assert callers == [OWN_ADDRESS]


def test_containers_reach_each_other_by_address(server: Machine) -> None:
    ask_soon("127.0.0.1", 8080)
    words = ("run", "--rm", "busybox", "sh", "-c", f"echo me | nc {server.address('server')} 80")
    assert server(*words) == "hello me"


def test_none_has_only_loopback(machine: Machine) -> None:
    assert machine("run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net") == "lo"
    assert machine("run", "--rm", "--network", "none", "busybox", "cat", "/sys/class/net/lo/operstate") == "unknown"


def test_host_has_the_host_s_interfaces(machine: Machine) -> None:
    seen = machine("run", "--rm", "--network", "host", "busybox", "ip", "-o", "link")
    assert machine.bridge in seen
    assert all(f": {name}" in seen for name in machine.ask("links"))


def test_the_resolver_is_written(machine: Machine) -> None:
    words = ("--dns", "192.0.2.53", "--dns-search", "example.org", "--dns-option", "ndots:2")
    seen = machine("run", "--rm", *words, "busybox", "cat", "/etc/resolv.conf").splitlines()
    assert {"nameserver 192.0.2.53", "search example.org", "options ndots:2"} <= set(seen)


def test_loopback_of_the_host_is_not_reachable(machine: Machine) -> None:
    """route_localnet must not open the host's own services to containers (CVE-2020-8558)."""
    machine("run", "-d", "--network", "host", "debian:bookworm", "perl", "-e", LOOPBACK_SCRIPT)
    nearby = ("run", "--rm", "--network", "host", "busybox", "sh", "-c", "echo me | nc 127.0.0.2 7100")
    wait_for(lambda: machine.attempt(*nearby).out == "hello me\n", "the server on the machine's loopback")
    gateway = machine("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "bridge")
    script = f"ip route add 127.0.0.2 via {gateway} 2>&1; echo | nc -w 2 127.0.0.2 7100; echo code $?"
    seen = machine("run", "--rm", "--cap-add", "NET_ADMIN", "busybox", "sh", "-c", script)
    assert "hello" not in seen and "code 0" not in seen


def test_many_connections_at_once(server: Machine) -> None:
    ask_soon("127.0.0.1", 8080)
    answers: list[str] = []

    def client(number: int) -> None:
        answers.append(ask("127.0.0.1", 8080, str(number)))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience(60))
    assert sorted(answers) == sorted(f"hello {number}" for number in range(50))


def test_beside_an_installed_docker(machine: Machine) -> None:
    """Docker sets the FORWARD policy to DROP and has a chain for others; the way out must survive that."""
    rules = (
        "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; };"
        "add chain ip filter DOCKER-USER; add rule ip filter FORWARD jump DOCKER-USER"
    )
    assert machine.inside(["nft", rules]).returncode == 0
    try:
        assert machine.attempt("version").code == 0
    finally:
        assert machine.inside(["nft", "delete table ip filter"]).returncode == 0
