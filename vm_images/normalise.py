"""A container's exported file system as the tree of a base image: what the build left goes, Docker's habits come."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterable

from vm_images.debian.release import DEBIAN_KEYRING
from vm_images.debian.repositories import PUBLIC_ARCHIVE, PUBLIC_SECURITY, UNSTABLE
from vm_images.tree import Tree

#: Folders whose contents belong to a run, not to an image.
_EMPTIED = ("dev", "proc", "sys", "run", "tmp", "mnt", "var/tmp")
#: Folders of which only the folders below and empty files (wtmp and the like) stay.
_HOLLOWED = ("var/log", "var/cache/apt", "var/lib/apt/lists")
_DROPPED = re.compile(
    r"\.dockerenv|etc/(machine-id|\.pwd\.lock|(passwd|group|shadow|gshadow|subuid|subgid)-|mtab)"
    r"|var/lib/dbus/machine-id|var/cache/ldconfig/aux-cache|var/cache/debconf/[^/]*-old|var/lib/dpkg/[^/]*-old"
)

#: What Docker's slim images do without (debuerreotype-slimify); of the documentation the licences stay.
_DOCUMENTATION = "usr/share/doc"
_SLIMMED = (
    "usr/share/info", "usr/share/linda", "usr/share/lintian/overrides", "usr/share/locale", "usr/share/man",
)  # fmt: skip

_CLEAN = "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"

#: As in Docker's own Debian image (debuerreotype-minimizing-config): its users rely on them.
_APT_CONF = {
    "docker-autoremove-suggests": 'Apt::AutoRemove::SuggestsImportant "false";\n',
    "docker-clean": (
        f'DPkg::Post-Invoke {{ "{_CLEAN}"; }};\nAPT::Update::Post-Invoke {{ "{_CLEAN}"; }};\n'
        'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'
    ),
    "docker-gzip-indexes": 'Acquire::GzipIndexes "true";\n',
    "docker-no-languages": 'Acquire::Languages "none";\n',
}
_MOUNT_MODES = {
    "dev": 0o755, "mnt": 0o755, "proc": 0o555, "run": 0o755, "run/lock": 0o1777, "sys": 0o555, "tmp": 0o1777,
    "var/tmp": 0o1777,
}  # fmt: skip
_HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def sources_text(codename: str) -> str:
    """/etc/apt/sources.list.d/debian.sources with Debian's public archive, wherever the image was made."""
    paragraph = f"Types: deb\nURIs: {{}}\nSuites: {{}}\nComponents: main\nSigned-By: {DEBIAN_KEYRING}\n"
    if codename == UNSTABLE:
        return paragraph.format(PUBLIC_ARCHIVE, codename)
    archive = paragraph.format(PUBLIC_ARCHIVE, f"{codename} {codename}-updates")
    return f"{archive}\n{paragraph.format(PUBLIC_SECURITY, f'{codename}-security')}"


def fill(tree: Tree, exported: tarfile.TarFile, codename: str, slim: bool = False) -> None:
    """Makes the image's tree of a container's export; a slim one is without manuals and translations, for good."""
    tree.merge(exported, _is_kept_slim if slim else _is_kept)
    if slim:
        tree.add_file("etc/dpkg/dpkg.cfg.d/docker", _slim_configuration().encode())
    for name, text in _APT_CONF.items():
        tree.add_file(f"etc/apt/apt.conf.d/{name}", text.encode())
    tree.add_file("etc/dpkg/dpkg.cfg.d/docker-apt-speedup", b"force-unsafe-io\n")
    tree.add_file("etc/apt/sources.list.d/debian.sources", sources_text(codename).encode())
    tree.add_file("usr/sbin/policy-rc.d", b"#!/bin/sh\nexit 101\n", 0o755)
    for name, text in (("hostname", ""), ("resolv.conf", ""), ("hosts", _HOSTS)):
        tree.add_file(f"etc/{name}", text.encode())
    _clear_modes(tree)


def _is_kept(path: str, member: tarfile.TarInfo) -> bool:
    if _is_below(path, _EMPTIED) or _DROPPED.fullmatch(path):
        return False
    is_trace = member.isreg() and (member.size > 0 or path.endswith((".log", "/lock")))
    return not (is_trace and _is_below(path, _HOLLOWED))


def _is_kept_slim(path: str, member: tarfile.TarInfo) -> bool:
    if not _is_kept(path, member) or _is_below(path, _SLIMMED):
        return False
    below_doc = path.removeprefix(f"{_DOCUMENTATION}/").split("/") if path.startswith(f"{_DOCUMENTATION}/") else []
    return len(below_doc) < 2 or below_doc[1:] == ["copyright"]


def _slim_configuration() -> str:
    """What is installed later comes without these, too (dpkg(1))."""
    excluded = [f"path-exclude /{folder}/*\n" for folder in (_DOCUMENTATION, *_SLIMMED)]
    return "".join(excluded) + f"path-include /{_DOCUMENTATION}/*/copyright\n"


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)


def _clear_modes(tree: Tree) -> None:
    """What a container has mounted over comes out with the mount's mode."""
    for name, mode in _MOUNT_MODES.items():
        tree.add_directory(name, mode)
