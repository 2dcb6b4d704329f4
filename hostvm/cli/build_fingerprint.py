"""What a context is known by without a look into its files: all that lstat(2) says of those that would be sent.

A file whose content changes gets another ctime, which nobody can set; one that takes another's place has another
inode. The exception is git's "racy" one: of two changes within one tick of the file system's clock the second doesn't
show. So nothing is known by its times before they are older than a tick (git: Documentation/technical/racy-git).
"""

import os
from _blake2 import blake2b
from stat import S_ISDIR
from time import time_ns

from hostvm.cli.build_context import Context, unreadable

#: Nanoseconds. The longest tick: FAT's.
_TICK = 2_000_000_000


def fingerprint(context: Context) -> str:
    """The same only for the same files, unchanged; "" where some were changed just now."""
    settled = time_ns() - _TICK
    state = blake2b(repr((context.folder, context.always)).encode("utf-8", "surrogateescape"), digest_size=20)
    for place, path in context.entries():
        try:
            status = os.lstat(place)
        except OSError as error:
            raise unreadable(place, error) from error
        text = f"{path}\0{status.st_mode}"
        if not S_ISDIR(status.st_mode):  # a folder's times tell of names, which are here anyhow
            changed, modified = status.st_ctime_ns, status.st_mtime_ns
            if changed > settled or modified > settled:
                return ""
            text += f" {status.st_size} {changed} {modified} {status.st_ino} {status.st_dev}"
        state.update(f"{text}\n".encode("utf-8", "surrogateescape"))
    return state.hexdigest()
