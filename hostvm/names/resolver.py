"""The host's resolver settings: Linux's resolv.conf(5), and what macOS says by `scutil --dns`. Parsing is pure.

The guest asks the host for names by way of QEMU (10.0.2.3), whose user network reads the host's servers again whenever
they change. What it can't carry over is the list of search domains: that is told to the guest.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass

RESOLV_CONF = "/etc/resolv.conf"
#: systemd-resolved's own list of the real servers, for hosts whose resolv.conf names only its stub.
SYSTEMD_RESOLV_CONF = "/run/systemd/resolve/resolv.conf"
_STUBS = {"127.0.0.53", "127.0.0.54"}
_SCUTIL_SECONDS = 5.0
_SCUTIL_ENTRY = re.compile(r"\s*(nameserver|search domain|domain|flags|options)\s*(?:\[\d+\])?\s*:\s*(.*\S)\s*")


@dataclass(frozen=True, slots=True)
class Resolver:
    """Whom the host asks, in order, and with which domains it completes short names."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


def parse_resolv_conf(text: str) -> Resolver:
    """Of several `search` or `domain` lines the last counts; what isn't understood is skipped, as resolvers do."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    for line in text.splitlines():
        word, *rest = line.split("#")[0].split(";")[0].split() or [""]
        if word == "nameserver" and rest:
            servers.append(rest[0])
        elif word in ("search", "domain"):
            search = tuple(rest)
    return Resolver(tuple(servers), tuple(domain for domain in search if domain != "."))


def is_stub_only(resolver: Resolver) -> bool:
    """Does the host ask nobody but systemd-resolved?"""
    return bool(resolver.servers) and _STUBS.issuperset(resolver.servers)


def parse_scutil(text: str) -> Resolver:
    """The first resolver of the first list: the one for all names. Those that follow are for single domains (VPNs),
    for multicast names, or for sockets bound to an interface."""
    first = text.partition("resolver #1\n")[2].partition("resolver #2\n")[0].partition("DNS configuration (")[0]
    entries = [found.groups() for found in map(_SCUTIL_ENTRY.fullmatch, first.splitlines()) if found]
    search = [value for name, value in entries if name == "search domain"]
    search = search or [value for name, value in entries if name == "domain"]
    return Resolver(tuple(value for name, value in entries if name == "nameserver"), tuple(search))


def read_resolver(platform: str = sys.platform) -> Resolver:
    """The host's, as far as it can be read."""
    if platform == "darwin":
        return parse_scutil(_ask_scutil())
    host = parse_resolv_conf(_read(RESOLV_CONF))
    if is_stub_only(host):
        real = parse_resolv_conf(_read(SYSTEMD_RESOLV_CONF))
        return Resolver(real.servers or host.servers, host.search)
    return host


def resolver_mark(path: str = RESOLV_CONF) -> tuple[int, int]:
    """Another one after each change: of the file that a link leads to, since either may be written anew.

    macOS writes /etc/resolv.conf as well whenever its settings change, so that one file tells on both systems.
    """
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_ino


def _ask_scutil() -> str:
    import subprocess  # on macOS only; a machine that resumes is in a hurry

    try:
        done = subprocess.run(
            ["/usr/sbin/scutil", "--dns"], capture_output=True, text=True, timeout=_SCUTIL_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
