"""The host's resolver settings as Linux and macOS say them, and that a change is noticed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from guest_agent.wire.errors import Unavailable
from hostvm.names.resolver import Resolver, is_stub_only, parse_resolv_conf, parse_scutil, resolver_mark
from hostvm.supervisor.resolver import GuestResolver

SCUTIL = """\
DNS configuration

resolver #1
  search domain[0] : corp.example
  search domain[1] : lan
  nameserver[0] : 192.168.1.1
  nameserver[1] : fe80::1%en0
  if_index : 14 (en0)
  flags    : Request A records
  reach    : 0x00020002 (Reachable,Directly Reachable Address)

resolver #2
  domain   : local
  options  : mdns
  timeout  : 5
  flags    : Request A records
  reach    : 0x00000000 (Not Reachable)
  order    : 300000

resolver #3
  domain   : vpn.example
  nameserver[0] : 10.8.0.1

DNS configuration (for scoped queries)

resolver #1
  search domain[0] : corp.example
  nameserver[0] : 192.168.1.1
  if_index : 14 (en0)
"""


def test_macos_first_resolver_is_the_one_for_all_names() -> None:
    assert parse_scutil(SCUTIL) == Resolver(("192.168.1.1", "fe80::1%en0"), ("corp.example", "lan"))


def test_macos_with_one_resolver_or_none() -> None:
    alone = "DNS configuration\n\nresolver #1\n  domain : home.arpa\n  nameserver[0] : 10.0.0.1\n\n"
    scoped = "DNS configuration (for scoped queries)\n\nresolver #1\n  nameserver[0] : 10.9.9.9\n"
    assert parse_scutil(alone + scoped) == Resolver(("10.0.0.1",), ("home.arpa",))
    assert parse_scutil("No DNS configuration available\n") == Resolver()
    assert parse_scutil("") == Resolver()


def test_linux() -> None:
    text = "# made by hand\nnameserver 10.0.0.1 # first\nnameserver fe80::1%eth0\ndomain a\nsearch b c ; d\noptions x\n"
    assert parse_resolv_conf(text) == Resolver(("10.0.0.1", "fe80::1%eth0"), ("b", "c"))
    assert parse_resolv_conf("search .\n") == Resolver()


def test_a_stub_is_known() -> None:
    assert is_stub_only(parse_resolv_conf("nameserver 127.0.0.53\n"))
    assert not is_stub_only(Resolver())
    assert not is_stub_only(Resolver(("127.0.0.53", "10.0.0.1")))


def test_a_change_has_another_mark(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    assert resolver_mark(str(path)) == (0, 0)
    path.write_text("search a\n")
    before = resolver_mark(str(path))
    assert resolver_mark(str(path)) == before
    (tmp_path / "new").write_text("search b\n")
    (tmp_path / "new").rename(path)
    assert resolver_mark(str(path)) != before


def test_the_guest_is_told_once_and_again_after_each_change() -> None:
    told: list[list[str]] = []
    marks, away = [(1, 1)], [True]

    async def tell(domains: list[str]) -> None:
        if away.pop() if away else False:
            raise Unavailable("not yet")
        told.append(domains)

    async def look(guest: GuestResolver, times: int) -> None:
        for _ in range(times):
            await guest.check()

    guest = GuestResolver(tell, lambda: Resolver((), (f"domain{marks[0][0]}",)), lambda: marks[0])
    asyncio.run(look(guest, 3))
    marks[0] = (2, 1)
    asyncio.run(look(guest, 2))
    assert told == [["domain1"], ["domain2"]]


@pytest.mark.parametrize("text", ["nameserver", "\x00\xff", "search", "nameserver # none"])
def test_what_is_not_understood_is_skipped(text: str) -> None:
    assert parse_resolv_conf(text) == Resolver()
