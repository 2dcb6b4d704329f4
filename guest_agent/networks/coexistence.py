"""Beside other people's firewalls: lets our bridge through where the host forwards nothing by default.

An installed docker sets the policy of iptables' FORWARD to DROP, and an `accept` in our own table can't overrule that:
what is dropped anywhere is dropped. So two rules go into DOCKER-USER, the chain that docker keeps for others, or to the
top of FORWARD where there is none (ufw). They may be wide, since our own table decides what gets to containers.

`iptables` comes in two kinds, and both can be in force at once: the one on nftables, whose rules we read in-process,
and the legacy one, which announces itself in /proc/net/ip_tables_names.
"""

from __future__ import annotations

import shlex
import subprocess

from guest_agent.linux.nftables import Nftables, NftablesError
from guest_agent.wire.errors import HostFailed

USER_CHAIN = "DOCKER-USER"
FORWARD_CHAIN = "FORWARD"
NFT_PROGRAM, LEGACY_PROGRAM = "iptables-nft", "iptables-legacy"
_LEGACY_TABLES = "/proc/net/ip_tables_names"
_SECONDS = 10  #: iptables waits for its lock (-w) behind whatever else changes rules


def let_bridge_through(nftables: Nftables, bridge: str) -> None:
    """Idempotent. Raises HostFailed when a needed rule can't be added."""
    for program, chain, rules in find_dropping_chains(nftables):
        for match in plan_missing(bridge, rules):
            _run(program, "-I", chain, match)


def forget_bridge(nftables: Nftables, bridge: str) -> None:
    """Takes our rules out wherever they could be; idempotent."""
    for program in find_programs(nftables):
        for chain in (USER_CHAIN, FORWARD_CHAIN):
            for match in plan_matches(bridge):
                while _succeeds(program, "-D", chain, match):
                    pass


def plan_matches(bridge: str) -> tuple[tuple[str, ...], ...]:
    return (("-i", bridge, "-j", "ACCEPT"), ("-o", bridge, "-j", "ACCEPT"))


def plan_missing(bridge: str, rules: str) -> list[tuple[str, ...]]:
    """The matches that a listing, by `nft` or by `iptables -S`, doesn't show."""
    return [
        match
        for match in plan_matches(bridge)
        if f'{match[0][1:]}ifname "{bridge}"' not in rules and f"{match[0]} {bridge} " not in rules
    ]


def find_dropping_chains(nftables: Nftables) -> list[tuple[str, str, str]]:
    """(program, chain to insert into, all its rules) for every kind of iptables that needs it."""
    found = []
    for program in find_programs(nftables):
        on_nftables = program == NFT_PROGRAM
        rules = _list(nftables, "list table ip filter") if on_nftables else _output(program, "-S")
        dropping = "hook forward priority filter; policy drop;" if on_nftables else f"-P {FORWARD_CHAIN} DROP"
        have_user_chain = (f"chain {USER_CHAIN} " if on_nftables else f"-N {USER_CHAIN}") in rules
        if have_user_chain or dropping in rules:
            found.append((program, USER_CHAIN if have_user_chain else FORWARD_CHAIN, rules))
    return found


def find_programs(nftables: Nftables) -> list[str]:
    """The iptables programs that have a filter table in force. Cheap where there is none: nothing is executed."""
    programs = []
    if _list(nftables, "list chain ip filter FORWARD"):
        programs.append(NFT_PROGRAM)
    try:
        with open(_LEGACY_TABLES) as file:
            if "filter" in file.read().split():
                programs.append(LEGACY_PROGRAM)
    except FileNotFoundError:
        pass
    return programs


def _list(nftables: Nftables, command: str) -> str:
    try:
        return nftables.run(command)
    except NftablesError:
        return ""


def _succeeds(program: str, action: str, chain: str, match: tuple[str, ...]) -> bool:
    argv = [program, "-w", action, chain, *match]
    try:
        return subprocess.run(argv, capture_output=True, timeout=_SECONDS).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _output(program: str, *arguments: str) -> str:
    try:
        argv = [program, "-w", *arguments]
        return subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _run(program: str, action: str, chain: str, match: tuple[str, ...]) -> None:
    argv = [program, "-w", action, chain, *match]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise _failed(argv, str(failure)) from failure
    if done.returncode != 0:
        raise _failed(argv, done.stderr.strip())


def _failed(argv: list[str], why: str) -> HostFailed:
    return HostFailed(
        f"the firewall's rules drop what containers send, and they couldn't be changed: {shlex.join(argv)}: {why}",
        hint="run that command by hand, or let the bridge through in your firewall's own configuration",
    )
