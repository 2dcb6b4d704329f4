"""Networks that users make: names, addresses, who reaches whom, and what becomes of them when the engine dies."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.waiting import wait_for
from tests.behaviour.harness.worker import OUTSIDE_ADDRESS, OWN_ADDRESS
from tests.behaviour.test_networking import SERVER, ask, ask_by_datagram, ask_soon

SLEEP = ("busybox", "sleep", "600")
MachineMaker = Callable[..., Machine]


def start(machine: Machine, name: str, *words: str) -> None:
    machine("run", "-d", "--name", name, *words, *SLEEP)


def reaches(machine: Machine, name: str, target: str) -> bool:
    return machine.attempt("exec", name, "ping", "-c1", "-W1", target).code == 0


def look_up(machine: Machine, name: str, *question: str) -> str:
    """What busybox's nslookup says inside; by way of our name server."""
    return machine.attempt("exec", name, "nslookup", *question).out


def place(machine: Machine, name: str, network: str) -> dict[str, Any]:
    found = machine.inspect(name)["NetworkSettings"]["Networks"][network]
    assert isinstance(found, dict)
    return found


def test_names_aliases_and_addresses_back(machine: Machine) -> None:
    machine("network", "create", "backend")
    start(machine, "database", "--network", "backend", "--network-alias", "db", "--network-alias", "all", "-h", "store")
    start(machine, "other", "--network", "name=backend,alias=all")
    start(machine, "asking", "--network", "backend", "--dns-search", "backend")
    short = place(machine, "database", "backend")
    assert short["DNSNames"][:3] == ["database", "db", "all"] and short["DNSNames"][-1] == "store"
    for name in ("database", "db", "store", "database.backend", "DB", short["DNSNames"][3]):
        assert reaches(machine, "asking", name), name
    addresses = {place(machine, name, "backend")["IPAddress"] for name in ("database", "other")}
    assert all(address in look_up(machine, "asking", "all") for address in addresses)
    assert "database.backend" in look_up(machine, "asking", short["IPAddress"])
    resolver = machine("exec", "asking", "cat", "/etc/resolv.conf").splitlines()
    assert {"nameserver 127.0.0.11", "search backend"} <= set(resolver) and "ndots:0" in resolver[-1]
    machine("rename", "database", "archive")
    assert reaches(machine, "asking", "archive") and not reaches(machine, "asking", "database")
    machine("stop", "-t", "0", "archive")
    assert not reaches(machine, "asking", "archive")


def test_static_addresses_and_what_is_refused(machine: Machine) -> None:
    words = ("--subnet", "10.77.0.0/24", "--ip-range", "10.77.0.128/25", "--gateway", "10.77.0.1")
    machine("network", "create", *words, "--aux-address", "nas=10.77.0.129", "fixed")
    start(machine, "one", "--network", "fixed", "--ip", "10.77.0.9", "--mac-address", "02:aa:00:00:00:09")
    start(machine, "two", "--network", "fixed")
    assert place(machine, "two", "fixed")["IPAddress"] == "10.77.0.128"
    assert "10.77.0.9/24" in machine("exec", "one", "ip", "addr") and reaches(machine, "two", "10.77.0.9")
    assert machine("exec", "one", "cat", "/sys/class/net/eth0/address") == "02:aa:00:00:00:09"
    again = ("create", "--network", "fixed", "--ip")
    machine(*again, "10.77.0.9", "--name", "late", *SLEEP)
    assert "Address already in use" in machine.fails(1, "start", "late")
    assert "no configured subnet or ip-range contain" in machine.fails(1, *again, "10.78.0.9", *SLEEP)
    machine("network", "create", "loose")
    complaint = machine.fails(125, "run", "--network", "loose", "--ip", "10.77.0.9", *SLEEP)
    assert "only when connecting to networks with user configured subnets" in complaint
    overlap = machine.fails(1, "network", "create", "--subnet", "10.77.0.0/16", "wider")
    assert "Pool overlaps with other one on this address space" in overlap
    assert "already exists" in machine.fails(1, "network", "create", "loose")
    assert "has active endpoints" in machine.fails(1, "network", "rm", "fixed")
    assert "pre-defined network" in machine.fails(1, "network", "rm", "bridge")
    assert "network nowhere not found" in machine.fails(125, "run", "--network", "nowhere", *SLEEP)


def test_connected_and_disconnected_while_it_runs_and_while_it_does_not(machine: Machine) -> None:
    machine("network", "create", "first")
    machine("network", "create", "second")
    start(machine, "server", "--network", "second")
    machine("create", "--name", "client", "--network", "first", *SLEEP)
    machine("network", "connect", "--alias", "late", "second", "client")
    machine("start", "client")
    assert machine("exec", "client", "ls", "/sys/class/net").split() == ["eth0", "eth1", "lo"]
    assert reaches(machine, "client", "server") and reaches(machine, "server", "late")
    machine("network", "disconnect", "second", "client")
    assert machine("exec", "client", "ls", "/sys/class/net").split() == ["eth0", "lo"]
    assert not reaches(machine, "client", "server")
    machine("network", "connect", "second", "client")
    assert reaches(machine, "client", "server")
    hosts = machine("exec", "client", "cat", "/etc/hosts")
    assert all(place(machine, "client", name)["IPAddress"] in hosts for name in ("first", "second"))
    assert "already exists in network" in machine.fails(1, "network", "connect", "second", "client")
    machine("network", "disconnect", "first", "client")
    assert "default via" in machine("exec", "client", "ip", "route")
    machine("network", "connect", "bridge", "client")
    before = {name: place(machine, "client", name)["IPAddress"] for name in ("second", "bridge")}
    machine("restart", "-t", "0", "client")
    assert {name: place(machine, "client", name)["IPAddress"] for name in before} == before
    machine("network", "disconnect", "bridge", "client")
    assert machine("exec", "client", "ls", "/sys/class/net").split() == ["eth0", "lo"]
    assert reaches(machine, "client", "server")
    shown = json.loads(machine("network", "inspect", "second"))[0]["Containers"]
    assert sorted(one["Name"] for one in shown.values()) == ["client", "server"]


def test_a_network_that_is_gone_and_networks_that_refuse(machine: Machine) -> None:
    machine("network", "create", "gone")
    machine("create", "--name", "left", "--network", "gone", "busybox", "sleep", "3600")
    machine("network", "rm", "gone")
    assert "is not connected to the network other" in machine.fails(1, "network", "disconnect", "other", "left")
    machine("network", "disconnect", "-f", "gone", "left")
    assert machine.inspect("left")["NetworkSettings"]["Networks"] == {}
    machine("run", "-d", "--name", "bare", "--network", "none", "busybox", "sleep", "3600")
    for network in ("bridge", "host", "none"):
        complaint = machine.fails(1, "network", "connect", "--alias", "a", network, "bare")
        assert "network-scoped alias is supported only for containers in user defined networks" in complaint
    assert "connected to host network" in machine.fails(1, "network", "connect", "host", "bare")
    complaint = machine.fails(125, "run", "--network", "none", "--ip", "10.0.0.9", "busybox", "true")
    assert "invalid config for network none: invalid endpoint settings:" in complaint


def test_from_the_default_network_to_one_with_names(machine: Machine) -> None:
    """The container gets a name server when the first such network comes, and its resolv.conf says so."""
    machine("network", "create", "named")
    start(machine, "server", "--network", "named")
    start(machine, "plain")
    assert not reaches(machine, "plain", "server")
    machine("network", "connect", "named", "plain")
    assert reaches(machine, "plain", "server")
    machine("network", "disconnect", "bridge", "plain")
    assert list(machine.inspect("plain")["NetworkSettings"]["Networks"]) == ["named"]
    machine("network", "disconnect", "named", "plain")
    assert machine("exec", "plain", "ls", "/sys/class/net") == "lo"
    machine("restart", "-t", "0", "plain")
    assert machine("exec", "plain", "ls", "/sys/class/net") == "lo"


def test_bridges_are_kept_from_each_other_and_internal_ones_from_everything(machine: Machine) -> None:
    for words in (
        ("left",),
        ("right",),
        ("--internal", "vault"),
        ("-o", "com.docker.network.bridge.enable_icc=false", "hall"),
    ):
        machine("network", "create", *words)
    start(machine, "aa", "--network", "left")
    start(machine, "bb", "--network", "right")
    start(machine, "cc", "--network", "vault")
    start(machine, "dd", "--network", "vault")
    start(machine, "ee", "--network", "hall")
    start(machine, "ff", "--network", "hall")
    address = place(machine, "bb", "right")["IPAddress"]
    assert not reaches(machine, "aa", address) and reaches(machine, "aa", OUTSIDE_ADDRESS)
    assert reaches(machine, "cc", "dd") and not reaches(machine, "cc", OUTSIDE_ADDRESS)
    gateway = machine("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "vault")
    script = f"ip route add default via {gateway} && ping -c1 -W1 {OUTSIDE_ADDRESS}"
    daring = ("run", "--rm", "--cap-add", "NET_ADMIN", "--network", "vault", "busybox", "sh", "-c", script)
    assert machine.attempt(*daring).code == 1
    assert not reaches(machine, "ee", place(machine, "ff", "hall")["IPAddress"]) and reaches(
        machine, "ee", OUTSIDE_ADDRESS
    )


def test_published_ports_follow_the_networks(machine: Machine) -> None:
    machine("network", "create", "front")
    machine("network", "create", "middle")
    machine("network", "create", "--internal", "vault")
    machine("run", "-d", "--name", "web", "--network", "middle", "--network", "front", "-p", "8080:80", *SERVER)
    assert ask_soon("127.0.0.1", 8080) == ask_soon(OWN_ADDRESS, 8080) == ask_soon("::1", 8080) == "hello you"
    machine("network", "disconnect", "front", "web")
    assert ask_soon("127.0.0.1", 8080) == ask_soon(OWN_ADDRESS, 8080) == "hello you"
    script = f"echo me | nc {OWN_ADDRESS} 8080"
    assert machine("run", "--rm", "--network", "front", "busybox", "sh", "-c", script) == "hello me"
    machine("run", "-d", "--name", "hidden", "--network", "vault", "-p", "8081:80", *SERVER)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", 8081), timeout=1)


def test_ipv6(machine: Machine) -> None:
    machine("network", "create", "--ipv6", "--subnet", "fd00:77::/64", "six")
    machine("network", "create", "--ipv6", "seven")
    start(machine, "one", "--network", "six", "--ip6", "fd00:77::9")
    start(machine, "two", "--network", "six", "--network", "seven")
    assert place(machine, "one", "six")["GlobalIPv6Address"] == "fd00:77::9"
    assert reaches(machine, "two", "fd00:77::9")
    assert "fd00:77::9" in look_up(machine, "two", "one")
    assert "one.six" in look_up(machine, "two", "fd00:77::9")
    routes = machine("exec", "two", "ip", "-6", "route")
    assert "default via " + place(machine, "two", "seven")["IPv6Gateway"] in routes
    assert "fd00:77::1" in machine("network", "inspect", "six")
    machine("network", "create", "--ipv6", "--subnet", "fe80::/64", "--gateway", "fe80::77:1", "local")
    start(machine, "three", "--network", "local", "--ip6", "fe80::77:9")
    assert "default via fe80::77:1" in machine("exec", "three", "ip", "-6", "route")


def test_a_mac_address_is_kept_for_the_network_of_the_mode(machine: Machine) -> None:
    """compose v1 joins a new container once more, and doesn't say it again."""
    machine("network", "create", "wired")
    asked = ("--network", "wired", "--mac-address", "02:aa:00:00:00:07")
    machine.docker("create", "--name", "moved", *asked, "busybox", "sleep", "3600")
    machine("network", "disconnect", "wired", "moved")
    machine("network", "connect", "wired", "moved")
    machine("start", "moved")
    assert place(machine, "moved", "wired")["MacAddress"] == "02:aa:00:00:00:07"


def test_a_published_port_of_ipv6_leads_to_who_listens_on_ipv6_alone(machine: Machine) -> None:
    script = """use IO::Socket::IP;
        $server = IO::Socket::IP->new(LocalHost => "::", LocalPort => 80, Listen => 5, V6Only => 1) or die "$@";
        while ($client = $server->accept) { $word = <$client>; print $client "hello $word"; close $client }"""
    datagrams = """use IO::Socket::IP;
        $socket = IO::Socket::IP->new(LocalHost => "::", LocalPort => 53, Type => SOCK_DGRAM, V6Only => 1) or die "$@";
        while ($client = $socket->recv($word, 1000)) { $socket->send("hello $word", 0, $client) }"""
    machine("network", "create", "--ipv6", "six")
    machine("run", "-d", "--network", "six", "-p", "8090:80", "debian:bookworm", "perl", "-e", script)
    machine("run", "-d", "--network", "six", "-p", "8090:53/udp", "debian:bookworm", "perl", "-e", datagrams)
    assert ask_soon("::1", 8090) == "hello you"
    assert ask_by_datagram("::1", 8090) == b"hello you\n"
    with pytest.raises(OSError):
        ask("127.0.0.1", 8090)


def test_links(machine: Machine) -> None:
    start(machine, "database", "--expose", "3306", "-e", "SECRET=word")
    script = "ping -c1 db >&2 && ping -c1 database >&2 && env"
    seen = machine("run", "--name", "web", "--link", "database:db", "busybox", "sh", "-c", script).splitlines()
    address = machine.address("database")
    assert {f"DB_PORT=tcp://{address}:3306", "DB_NAME=/web/db", "DB_ENV_SECRET=word"} <= set(seen)
    assert machine.inspect("web")["HostConfig"]["Links"] == ["/database:/web/db"]
    start(machine, "later", "--link", "database:db")
    assert f"DB_PORT=tcp://{address}:3306" in machine("exec", "later", "env").splitlines()
    machine("rename", "database", "store")
    assert machine.inspect("later")["HostConfig"]["Links"] == ["/store:/later/db"]
    assert "DB_NAME=/later/db" in machine("exec", "later", "env").splitlines()
    machine("rename", "store", "database")
    start(machine, "beside", "--network", "container:database")
    hosts = machine("run", "--rm", "--link", "beside:pod", "busybox", "cat", "/etc/hosts")
    assert [line for line in hosts.splitlines() if line.startswith(f"{address}\tpod ") and "database" in line]
    machine("network", "create", "named")
    start(machine, "server", "--network", "named")
    start(machine, "caller", "--network", "named", "--link", "server:alias")
    assert reaches(machine, "caller", "alias") and not reaches(machine, "server", "alias")
    machine.docker("rm", "--link", "web/db")
    assert machine.inspect("web")["HostConfig"]["Links"] is None
    machine("restart", "-t", "0", "database")
    assert machine.address("database") == address
    machine("stop", "-t", "0", "database")
    machine.kill_engine()  # the next one doesn't know which address it had
    machine("start", "database")
    assert machine.address("database") != address
    hosts = machine("exec", "later", "cat", "/etc/hosts")
    assert f"{machine.address('database')}\tdb " in hosts
    machine("stop", "-t", "0", "database")
    complaint = machine.fails(125, "run", "--link", "database", *SLEEP)
    assert "Cannot link to a non running container" in complaint
    machine("rm", "database")
    assert "Cannot link to a non running container: /database AS /later/db" in machine.fails(1, "exec", "later", "env")
    start(machine, "database")
    assert hosts == machine("exec", "later", "cat", "/etc/hosts"), "another container, though of the same name"


def test_pruned_listed_and_told_of(machine: Machine) -> None:
    machine("network", "create", "--label", "keep=yes", "kept")
    machine("network", "create", "used")
    machine("network", "create", "unused")
    start(machine, "user", "--network", "used")
    listed = machine("network", "ls", "--filter", "type=custom", "--format", "{{.Name}}").split()
    assert listed == ["kept", "unused", "used"]
    assert machine("network", "prune", "-f", "--filter", "label!=keep") == "Deleted Networks:\nunused\n"
    machine("rm", "-f", "user")
    events = machine("events", "--since", "10m", "--until", "0s", "--filter", "type=network", "--format", "{{json .}}")
    told = [(one["Action"], one["Actor"]["Attributes"].get("name")) for one in map(json.loads, events.splitlines())]
    wanted = [("create", "used"), ("connect", "used"), ("destroy", "unused"), ("prune", None), ("disconnect", "used")]
    assert [one for one in told if one in wanted] == wanted


def test_docker_s_command_line(machine: Machine) -> None:
    machine.docker("network", "create", "--driver", "bridge", "--opt", "com.docker.network.bridge.name=hvown0", "own")
    assert "hvown0" in machine.ask("links")
    machine.docker("run", "-d", "--name", "one", "--network", "own", "--network-alias", "first", *SLEEP)
    assert "1 packets received" in machine.docker("run", "--rm", "--network", "own", "busybox", "ping", "-c1", "first")
    machine.docker("network", "connect", "bridge", "one")
    assert machine.docker("exec", "one", "ls", "/sys/class/net").split() == ["eth0", "eth1", "lo"]
    machine.docker("network", "disconnect", "own", "one")
    assert machine.docker("network", "rm", "own") == "own"
    assert "hvown0" not in machine.ask("links")


def test_macvlan_and_ipvlan_where_the_kernel_can(machine: Machine) -> None:
    """Members meet on the parent; where a kind isn't there, the kernel's refusal says so."""
    start(machine, "carrier")  # the parent is a bridge, and one without members is down
    for kind, subnet in (("macvlan", "10.81.0.0/24"), ("ipvlan", "10.82.0.0/24")):
        made = machine.attempt(
            "network", "create", "-d", kind, "--subnet", subnet, "-o", f"parent={machine.bridge}", kind
        )
        if made.code:
            assert f"this kernel can't make {kind} interfaces" in made.err
            continue
        start(machine, f"{kind}1", "--network", kind)
        start(machine, f"{kind}2", "--network", kind)
        assert reaches(machine, f"{kind}1", f"{kind}2")
        machine("rm", "-f", f"{kind}1", f"{kind}2")
        machine("network", "rm", kind)


def test_after_a_kill_of_the_engine_everything_is_as_before(fresh_machine: MachineMaker) -> None:
    machine = fresh_machine("busybox", "debian")
    machine("network", "create", "--subnet", "10.77.0.0/24", "backend")
    start(machine, "database", "--network", "backend", "--network-alias", "db")
    machine("run", "-d", "--name", "web", "--network", "backend", "-p", "8080:80", *SERVER)
    before = {name: place(machine, name, "backend")["IPAddress"] for name in ("database", "web")}
    machine.kill_engine()
    assert {name: place(machine, name, "backend")["IPAddress"] for name in before} == before
    assert reaches(machine, "database", "web") and ask_soon("127.0.0.1", 8080) == "hello you"
    start(machine, "third", "--network", "backend")
    assert place(machine, "third", "backend")["IPAddress"] not in before.values()
    assert reaches(machine, "third", "db")
    machine("rm", "-f", "database", "web", "third")
    machine.stop()
    start(machine, "again", "--network", "backend")
    assert reaches(machine, "again", "10.77.0.1")


@pytest.mark.parametrize("place_of_death", ["connect.record.after", "connect.join.after", "disconnect.record.after"])
def test_a_connection_that_the_engine_died_in(fresh_machine: MachineMaker, place_of_death: str) -> None:
    """The record says what was meant: the next engine makes the interface, or takes it away."""
    machine = fresh_machine("busybox", environment={"HOSTVM_FAILPOINTS": f"{place_of_death}=kill"})
    machine("network", "create", "first")
    machine("network", "create", "second")
    start(machine, "one", "--network", "first")
    leaving = place_of_death.startswith("disconnect")
    machine.attempt("network", "disconnect" if leaving else "connect", "first" if leaving else "second", "one")
    wait_for(lambda: machine.attempt("version").code == 0, "the next engine")
    expected = ["lo"] if leaving else ["eth0", "eth1", "lo"]
    assert machine("exec", "one", "ls", "/sys/class/net").split() == expected
