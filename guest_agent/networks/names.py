"""What a container's /etc/hosts and /etc/resolv.conf say. Pure: texts in, texts out.

The rules are docker's (libnetwork/resolvconf, etchosts): name servers on loopback addresses are the host's own and
can't be reached from a container's namespace, so they are left out; a host that names only systemd-resolved's stub has
the real ones in another file. Where nothing is left, docker falls back on 8.8.8.8; we answer at 127.0.0.11 ourselves
and ask whom the host asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

#: Docker's address for its resolver; programs (nginx) are configured with it.
FORWARDER = "127.0.0.11"
SYSTEMD_STUB = "127.0.0.53"
HOST_GATEWAY = "host-gateway"  #: docker's word for the host's address, in --add-host
#: What every container of Docker Desktop's machine knows the user's host as. On Linux docker has no such names.
HOST_NAMES = ("host.docker.internal", "gateway.docker.internal")
_DEFAULT_HOSTS = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::0", "ip6-localnet"),
    ("ff00::0", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)


@dataclass(frozen=True, slots=True)
class Asking:
    """How a container's own name server asks others."""

    servers: tuple[str, ...] = ()  #: those of `--dns`; () are the host's
    #: The user set ndots, so a name without a dot is to be tried with the search domains, not asked for outside.
    dotted_only: bool = False


@dataclass(frozen=True, slots=True)
class ResolverSettings:
    """The content of a resolv.conf(5)."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def wants_forwarder(self) -> bool:
        """Must somebody answer at 127.0.0.11 in the container?"""
        return FORWARDER in self.servers

    def text(self) -> str:
        lines = [f"nameserver {server}" for server in self.servers]
        lines += [f"search {' '.join(self.search)}"] if self.search else []
        lines += [f"options {' '.join(self.options)}"] if self.options else []
        return "".join(f"{line}\n" for line in lines)


def parse_resolv_conf(text: str) -> ResolverSettings:
    """What is not understood is skipped, as resolvers do; of several `search` or `domain` lines the last counts."""
    servers: list[str] = []
    options: list[str] = []
    search: tuple[str, ...] = ()
    for line in text.splitlines():
        word, *rest = line.split("#")[0].split(";")[0].split() or [""]
        if word == "nameserver" and rest and _is_address(rest[0]):
            servers.append(rest[0])
        elif word in ("search", "domain"):
            search = tuple(rest)
        elif word == "options":
            options.extend(rest)
    return ResolverSettings(tuple(servers), search, tuple(options))


def is_stub_only(host: ResolverSettings) -> bool:
    """Does the host ask nobody but systemd-resolved's stub?"""
    return set(host.servers) == {SYSTEMD_STUB}


def plan_resolver(host: ResolverSettings, asked: ResolverSettings, *, own_namespace: bool) -> ResolverSettings:
    """A container's settings from the host's and from `--dns`, `--dns-search`, `--dns-option`.

    Each of the three that was asked for replaces the host's; a search of "." means none. On the host's own network
    nothing is left out.
    """
    servers = asked.servers or (tuple(filter(_is_reachable, host.servers)) if own_namespace else host.servers)
    if not servers and own_namespace:
        servers = (FORWARDER,)
    search = asked.search or host.search
    search = () if search == (".",) else search
    return ResolverSettings(servers, search, asked.options or host.options)


def plan_own_resolver(host: ResolverSettings, asked: ResolverSettings) -> tuple[ResolverSettings, Asking]:
    """A container's settings where its networks have names, and how its own name server asks others.

    A name without a dot is asked for as it is first (ndots:0, as docker), unless the user says otherwise.
    """
    options = asked.options or host.options
    ndots = [option for option in options if option.startswith("ndots:")]
    search = asked.search or host.search
    settings = ResolverSettings(
        (FORWARDER,), () if search == (".",) else search, options if ndots else (*options, "ndots:0")
    )
    return settings, Asking(asked.servers, dotted_only=bool(ndots) and ndots[-1] != "ndots:0")


def plan_hosts(
    hostname: str, addresses: Iterable[str], extra: Iterable[str] = (), gateway: str = "", domainname: str = ""
) -> str:
    """/etc/hosts of a container with its own namespace. `extra` are "name:address".

    `gateway` is what `host-gateway` stands for.
    """
    full = f"{hostname}.{domainname}" if domainname else hostname
    short, dot, _ = full.partition(".")
    names = f"{full} {short}" if dot else full
    return _format_hosts(
        [*_DEFAULT_HOSTS, *parse_extra_hosts(extra, gateway), *((address, names) for address in addresses)]
    )


def plan_host_network_hosts(host_file: str, extra: Iterable[str] = (), gateway: str = "127.0.0.1") -> str:
    """/etc/hosts of a container on the host's network: the host's, and what was added."""
    separator = "" if host_file.endswith("\n") or not host_file else "\n"
    return host_file + separator + _format_hosts(parse_extra_hosts(extra, gateway))


def with_host_names(extra: Iterable[str], host_address: str) -> list[str]:
    """`--add-host` with Docker Desktop's names for the user's host, unless the user has set them; "" adds none."""
    asked = list(extra)
    taken = {entry.partition(":")[0] for entry in asked}
    names = [name for name in HOST_NAMES if host_address and name not in taken]
    return [*asked, *(f"{name}:{host_address}" for name in names)]


def parse_extra_hosts(extra: Iterable[str], gateway: str) -> list[tuple[str, str]]:
    """(address, name) of each; IPv6 addresses may stand in brackets."""
    records = []
    for entry in extra:
        name, _, address = entry.partition(":")
        address = gateway if address == HOST_GATEWAY else address.strip("[]")
        records.append((address, name))
    return records


def _format_hosts(records: Sequence[tuple[str, str]]) -> str:
    return "".join(f"{address}\t{names}\n" for address, names in records)


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_reachable(server: str) -> bool:
    """From a container's namespace, which has IPv4 only."""
    return ":" not in server and not ip_address(server).is_loopback
