"""Entries of a user's archive -> files below the working directory, as `docker cp` has it.

What differs from a layer: `.wh.` means nothing, the folder itself stays as it is, and a change of kind may be refused.
"""

from __future__ import annotations

import os
import stat

from guest_agent.layers.tree_writer import TreeWriter, inner_name
from guest_agent.store.tar import DIRECTORY, TarEntry, TarError, shown


class CannotOverwrite(Exception):
    """A folder would become something else, or something else a folder. The words are dockerd's."""


class ArchiveWriter(TreeWriter):
    """`keep_kinds` is `noOverwriteDirNonDir`; `owner` (uid, gid) takes the place of the archive's owners."""

    def __init__(self, keep_kinds: bool, owner: tuple[int, int] | None) -> None:
        super().__init__("", rootless=False)
        self._keep_kinds = keep_kinds
        self._owner = owner

    def begin(self, entry: TarEntry) -> None:
        self.close_entry()
        if self._owner is not None:
            entry = entry._replace(uid=self._owner[0], gid=self._owner[1])
        self._entry = entry
        name = self._inner_name(entry.name)
        if not name:
            return
        if self._keep_kinds:
            _check_kind(name, entry)
        self._make(self._find_maker(entry), name, entry)

    def _inner_name(self, name: bytes) -> bytes:
        try:
            return inner_name(name)
        except TarError:
            raise TarError(f"{shown(name)} is outside of {shown(os.getcwdb())}") from None


def _check_kind(name: bytes, entry: TarEntry) -> None:
    try:
        is_folder = stat.S_ISDIR(os.lstat(name).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return
    if is_folder == (entry.kind == DIRECTORY):
        return
    kinds = ("directory", "non-directory") if is_folder else ("non-directory", "directory")
    place = os.path.join(os.getcwdb(), name)
    raise CannotOverwrite(f"cannot overwrite {kinds[0]} {shown(place)} with {kinds[1]} {shown(os.getcwdb())}")
