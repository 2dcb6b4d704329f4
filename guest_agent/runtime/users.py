"""`--user` resolved against the container's own passwd and group, in docker's rules (moby/sys/user).

The files are read with RESOLVE_IN_ROOT: an image whose /etc/passwd is a link to the host's sees its own root only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from guest_agent.linux.paths import read_in_root
from guest_agent.wire.errors import InvalidArgument

#: Ids are 31 bits there: minID and maxID of moby/sys/user.
MAXIMUM_ID = (1 << 31) - 1
#: What Go's strconv.Atoi reads.
_NUMBER = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True, slots=True)
class ResolvedUser:
    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    home: str = "/"


@dataclass(frozen=True, slots=True)
class PasswdEntry:
    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True)
class GroupEntry:
    name: str
    gid: int
    members: tuple[str, ...]


def resolve_user(rootfs: str, user: str, group_add: Sequence[str] = ()) -> ResolvedUser:
    """`name`, `uid`, `name:group`, `uid:gid`, "" (root). InvalidArgument in docker's wording."""
    passwd = parse_passwd(_read(rootfs, "etc/passwd"))
    groups = parse_groups(_read(rootfs, "etc/group"))
    return find_user(passwd, groups, user, group_add)


def find_user(
    passwd: Sequence[PasswdEntry], groups: Sequence[GroupEntry], user: str, group_add: Sequence[str] = ()
) -> ResolvedUser:
    """The pure half of `resolve_user`. Supplementary groups of /etc/group count only where no group was named."""
    user_part, _, group_part = user.partition(":")
    entry = _find_entry(passwd, user_part)
    gid = _find_gid(groups, group_part) if group_part else entry.gid
    member_of = () if group_part else [group.gid for group in groups if entry.name and entry.name in group.members]
    added = [_find_gid(groups, name) for name in group_add]
    return ResolvedUser(entry.uid, gid, _unique([*member_of, *added]), entry.home)


def parse_passwd(text: str) -> tuple[PasswdEntry, ...]:
    """Lines that can't be understood are skipped, as libc does."""
    entries = []
    for fields in _records(text, 6):
        if fields[2].isdecimal() and fields[3].isdecimal():
            entries.append(PasswdEntry(fields[0], int(fields[2]), int(fields[3]), fields[5]))
    return tuple(entries)


def parse_groups(text: str) -> tuple[GroupEntry, ...]:
    entries = []
    for fields in _records(text, 3):
        if fields[2].isdecimal():
            members = fields[3].split(",") if len(fields) > 3 else []
            entries.append(GroupEntry(fields[0], int(fields[2]), tuple(filter(None, members))))
    return tuple(entries)


def _find_entry(passwd: Sequence[PasswdEntry], user: str) -> PasswdEntry:
    """By name first: a user whose name is a number is found by it, as in docker."""
    wanted = user or "0"
    for entry in passwd:
        if entry.name == wanted or (not user and entry.uid == 0):
            return entry
    if not _NUMBER.fullmatch(wanted):
        raise InvalidArgument(
            f"unable to find user {user}: no matching entries in passwd file",
            "name a user that the image has, or a numeric id",
        )
    uid = _checked_id(wanted)
    return next((entry for entry in passwd if entry.uid == uid), PasswdEntry("", uid, 0, "/"))


def _find_gid(groups: Sequence[GroupEntry], wanted: str) -> int:
    for group in groups:
        if group.name == wanted:
            return group.gid
    if not _NUMBER.fullmatch(wanted):
        raise InvalidArgument(
            f"unable to find group {wanted}: no matching entries in group file",
            "name a group that the image has, or a numeric id",
        )
    return _checked_id(wanted)


def _checked_id(text: str) -> int:
    number = int(text[:20])
    if not 0 <= number <= MAXIMUM_ID:
        raise InvalidArgument("uids and gids must be in range 0-2147483647")
    return number


def _records(text: str, minimum: int) -> Iterable[list[str]]:
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) >= minimum and not line.startswith("#"):
            yield fields


def _unique(gids: Iterable[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(gids))


def _read(rootfs: str, path: str) -> str:
    """A missing file is an empty one: images from scratch have neither."""
    try:
        return read_in_root(rootfs, path).decode(errors="replace")
    except OSError:
        return ""
