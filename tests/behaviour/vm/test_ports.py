"""Ports and names between a VM's containers and its host: what natively needs nobody's doing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.behaviour.harness.vm import VmMachine
from tests.behaviour.harness.waiting import wait_for
from tests.behaviour.test_networking import SERVER, TCP_SCRIPT, ask, ask_soon

#: Asks a server of one line, and prints its answer.
CLIENT = """
use IO::Socket::INET;
my $server = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1], Timeout => 20) or die $!;
print $server "you\\n"; print <$server>;
"""
HOST_SERVER = ("debian:bookworm", "perl", "-e", TCP_SCRIPT.replace("LocalPort => 80", "LocalPort => 8071"))


@contextmanager
def greeter() -> Iterator[int]:
    """A server on this host's loopback, and only there; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=greet, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]


def greet(listener: socket.socket) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            client.sendall(b"the host greets " + client.recv(100))


@pytest.mark.parametrize(
    "options, name",
    [
        ((), "host.docker.internal"),
        ((), "gateway.docker.internal"),
        (("--add-host", "me:host-gateway"), "me"),
        (("--network", "host"), "host.docker.internal"),
    ],
)
@pytest.mark.usefixtures("with_debian")
def test_the_host_s_loopback_has_a_name(vm: VmMachine, options: tuple[str, ...], name: str) -> None:
    with greeter() as port:
        shown = vm("run", "--rm", *options, "debian:bookworm", "perl", "-e", CLIENT, name, str(port))
    assert shown == "the host greets you"


@pytest.mark.usefixtures("with_debian")
def test_listeners_on_the_host_s_network_are_reached_on_the_host(vm: VmMachine) -> None:
    vm("run", "-d", "--name", "server", "--network", "host", *HOST_SERVER)
    assert ask_soon("127.0.0.1", 8071) == "hello you"
    vm.kill_engine()
    assert ask("127.0.0.1", 8071) == "hello you"
    vm("rm", "-f", "server")
    wait_for(lambda: not is_open(8071), "the port to be free")


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


@pytest.mark.usefixtures("with_debian")
def test_a_listener_whose_port_is_taken_is_named(vm: VmMachine) -> None:
    with socket.create_server(("127.0.0.1", 8071)):
        vm("run", "-d", "--network", "host", *HOST_SERVER)
        wait_for(lambda: ":8071/tcp" in vm("info") + vm.attempt("info").err, "a warning")
    assert ask_soon("127.0.0.1", 8071) == "hello you"


@pytest.mark.usefixtures("with_debian")
def test_five_hundred_connections_at_once(vm: VmMachine) -> None:
    vm("run", "-d", "-p", "8072:80", *SERVER)
    assert ask_soon("127.0.0.1", 8072) == "hello you"
    with ThreadPoolExecutor(500) as callers:
        answers = list(callers.map(lambda number: ask("127.0.0.1", 8072, str(number)), range(500)))
    assert answers == [f"hello {number}" for number in range(500)]


@pytest.mark.usefixtures("with_debian")
def test_a_denied_port_names_the_rule_and_the_way(vm: VmMachine) -> None:
    vm("machine", "set", "--port-rule", "deny=8073", "vm")
    refused = vm.attempt("run", "-d", "-p", "8073:80", *SERVER)
    assert refused.code == 125
    assert "the machine's rules deny port 8073/tcp" in refused.err
    assert "hostvm machine set --port-rule" in refused.err
    assert vm("ps", "-aq") == ""
    vm("machine", "set", "--port-rule", "deny=", "vm")
    vm("run", "-d", "-p", "8073:80", *SERVER)
    assert ask_soon("127.0.0.1", 8073) == "hello you"
