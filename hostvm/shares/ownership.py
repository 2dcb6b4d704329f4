"""Whose files they are, as the guest sees it.

Where the server is root, owners are the host's. Where it isn't, everything it makes is the user's own: the guest sees
those files as root's, and what a chown inside asked for is kept beside the file in an extended attribute. A database
that gives its folder to uid 999 finds it so, while on the host the file stays the user's. Symbolic links, sockets and
fifos take no such attribute: there a chown succeeds and changes nothing.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable

from hostvm.shares import libc
from hostvm.shares.errnos import EPERM, Refusal
from hostvm.shares.libc import LINUX, Attributes

#: Never shown to the guest.
ATTRIBUTE = b"user.hostvm.owner"
#: Files of others on the host, as a user namespace shows ids that it doesn't map.
NOBODY = 65534
_VALUE = re.compile(rb"(\d{1,10}):(\d{1,10})")
_KEEP = 0xFFFFFFFF


class HostOwners:
    """The server is root: chown(2) is chown(2)."""

    checks_permissions = True

    def show(self, attributes: Attributes, read: Callable[[bytes], bytes]) -> None:
        """Nothing to change."""

    def change(self, descriptor: int, attributes: Attributes, uid: int, gid: int, caller: int) -> None:
        """-1 (as unsigned) leaves an id as it is. The guest's kernel has checked who may."""
        wanted = (-1 if uid == _KEEP else uid, -1 if gid == _KEEP else gid)
        if LINUX:
            os.chown(f"/proc/self/fd/{descriptor}", *wanted)
        else:
            os.chown(descriptor, *wanted)

    def adopt(self, descriptor: int, attributes: Attributes, uid: int, gid: int, folder_mode: int) -> None:
        """Give a file that was just made to who made it. A folder with the set-group-id bit gives its own group."""
        group = attributes.gid if folder_mode & stat.S_ISGID else gid
        if (attributes.uid, attributes.gid) != (uid, group):
            self.change(descriptor, attributes, uid, group, 0)


class SquashedOwners:
    """The server is a plain user."""

    checks_permissions = False

    def __init__(self, uid: int, gid: int) -> None:
        self._uid = uid
        self._gid = gid

    def show(self, attributes: Attributes, read: Callable[[bytes], bytes]) -> None:
        """Put the guest's owners into `attributes`; `read` gets an extended attribute or raises OSError."""
        attributes.uid, attributes.gid = _kept(attributes, read) or (
            0 if attributes.uid == self._uid else NOBODY,
            0 if attributes.gid == self._gid or attributes.uid == self._uid else NOBODY,
        )

    def change(self, descriptor: int, attributes: Attributes, uid: int, gid: int, caller: int) -> None:
        """`attributes` are the host's. Raises Refusal(EPERM) for somebody else's file, or where nothing can be kept."""
        is_owner = attributes.uid == self._uid
        shown = _copy_ids(attributes)
        self.show(shown, lambda name: libc.get_xattr(descriptor, name))
        wanted = (shown.uid if uid == _KEEP else uid, shown.gid if gid == _KEEP else gid)
        if wanted == (shown.uid, shown.gid):
            return
        if not is_owner or (caller != 0 and (wanted[0] != shown.uid or caller != shown.uid)):
            raise Refusal(EPERM)
        if stat.S_ISREG(attributes.mode) or stat.S_ISDIR(attributes.mode):
            _keep(descriptor, attributes.mode, wanted)

    def adopt(self, descriptor: int, attributes: Attributes, uid: int, gid: int, folder_mode: int) -> None:
        """As far as it can be kept: what was made stays, whoever owns it."""
        try:
            self.change(descriptor, attributes, uid, gid, 0)
        except (OSError, Refusal):
            return


Owners = HostOwners | SquashedOwners


def choose_owners(uid: int, gid: int) -> Owners:
    """By who the server is."""
    return HostOwners() if uid == 0 else SquashedOwners(uid, gid)


def _kept(attributes: Attributes, read: Callable[[bytes], bytes]) -> tuple[int, int] | None:
    if not (stat.S_ISREG(attributes.mode) or stat.S_ISDIR(attributes.mode)):
        return None
    try:
        value = _VALUE.fullmatch(read(ATTRIBUTE))
    except OSError:
        return None
    ids = (int(value[1]), int(value[2])) if value else (_KEEP, _KEEP)
    return None if max(ids) >= _KEEP else ids


def _keep(descriptor: int, mode: int, ids: tuple[int, int]) -> None:
    value = b"%d:%d" % ids
    try:
        libc.set_xattr(descriptor, ATTRIBUTE, value)
    except PermissionError:
        _keep_read_only(descriptor, mode, value)
    except OSError:
        raise Refusal(EPERM) from None


def _keep_read_only(descriptor: int, mode: int, value: bytes) -> None:
    """user.* attributes need write permission, which a file's own user may lend himself."""
    change_mode(descriptor, mode | stat.S_IWUSR)
    try:
        libc.set_xattr(descriptor, ATTRIBUTE, value)
    finally:
        change_mode(descriptor, mode)


def change_mode(descriptor: int, mode: int) -> None:
    """chmod of a pinned file."""
    if LINUX:
        os.chmod(f"/proc/self/fd/{descriptor}", stat.S_IMODE(mode))
    else:
        os.chmod(descriptor, stat.S_IMODE(mode))


def _copy_ids(attributes: Attributes) -> Attributes:
    fields = {name: getattr(attributes, name) for name in Attributes.__slots__}
    return Attributes(**fields)
