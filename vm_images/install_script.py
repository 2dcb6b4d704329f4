"""The shell scripts that run inside a container: dpkg installs, then everything that tells of the run goes. Pure.

They run with the network off; the packages are a read-only mount at `PACKAGES`. /mnt is in every Debian image, so
that the mount leaves no folder behind.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from vm_images.debian.packages import Package

PACKAGES = "/mnt"

_HEAD = """\
set -eu
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true DEBCONF_NOWARNINGS=yes
export LC_ALL=C.UTF-8 HOME=/root TERM=dumb PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export SOURCE_DATE_EPOCH={epoch}
umask 022
test -e /usr/sbin/policy-rc.d || printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
test -x /usr/sbin/policy-rc.d || chmod 755 /usr/sbin/policy-rc.d
"""

#: No fsync for files that are thrown away when this run fails.
_DPKG = "dpkg --force-unsafe-io"

#: What only this run has made: logs, caches, back-ups. Times after the release would differ in each build.
_TAIL = """\
rm -rf /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/lib/apt/lists/* /var/cache/ldconfig/aux-cache
rm -rf /var/log/apt/* /var/log/*.log /var/cache/debconf/*-old /var/lib/dpkg/*-old
rm -rf /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/.pwd.lock /run/adduser /tmp/* /var/tmp/*
"""
_CLAMP = """\
find / -xdev -newermt @{epoch} ! -path /proc ! -path /sys ! -path /dev \\
    -exec touch --no-dereference --date=@{epoch} {{}} + 2> /dev/null || true
"""


def base_script(essential: Sequence[Package], batches: Sequence[Sequence[Package]], epoch: int) -> str:
    """Installs a whole system over the essential packages' bare files.

    As mmdebstrap: the essential ones in one command, in which dpkg doesn't mind the order (--force-depends), since
    their files are there already. base-passwd comes first, because the others need its users.
    """
    first = sorted(essential, key=lambda package: (package.name != "base-passwd", package.name))
    lines = [_HEAD.format(epoch=epoch), f"{_DPKG} --force-depends --install {_paths(first)}"]
    lines += [f"{_DPKG} --install {_paths(batch)}" for batch in batches]
    return "\n".join([*lines, 'test -z "$(dpkg --audit)"', _TAIL])


def include_script(
    batches: Sequence[Sequence[Package]],
    named: Sequence[str],
    epoch: int,
    files: Sequence[tuple[str, int, str]],
    finish: str,
) -> str:
    """Installs packages into a finished system. `files` are (path, mode, text); `finish` is shell to run at the end."""
    lines = [_HEAD.format(epoch=epoch)]
    lines += [f"{_DPKG} --install {_paths(batch)}" for batch in batches]
    lines += ['test -z "$(dpkg --audit)"', _mark_automatic(batches, named)]
    lines += [_write_file(*file) for file in files]
    return "\n".join([*lines, finish, _TAIL, _CLAMP.format(epoch=epoch)])


def _paths(packages: Sequence[Package]) -> str:
    return " ".join(f"{PACKAGES}/{package.sha256}" for package in packages)


def _mark_automatic(batches: Sequence[Sequence[Package]], named: Sequence[str]) -> str:
    names = sorted({package.name for batch in batches for package in batch} - set(named))
    return f"apt-mark auto {' '.join(names)} > /dev/null" if names else ""


def _write_file(path: str, mode: int, text: str) -> str:
    quoted = shlex.quote(path)
    return f'mkdir -p "$(dirname {quoted})"\nprintf %s {shlex.quote(text)} > {quoted}\nchmod {mode:o} {quoted}'
