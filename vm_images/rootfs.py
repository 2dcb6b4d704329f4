"""Stage 1 of a Debian image: the essential packages' files, as they lie in the packages. Pure.

No maintainer script has run, and dpkg knows of no package: this tree is just enough to run dpkg in. Stage 2
(`install_script`) then installs the same packages for good. That is mmdebstrap's way, and the result is the same as
its: preinst scripts run, dpkg writes its own lists, hashes of conffiles and alternatives. A status file "unpacked"
that we wrote, with `dpkg --configure -a` to follow, would skip every preinst and leave dpkg's lists to us.
"""

from __future__ import annotations

from collections.abc import Iterable

from vm_images.debian.deb import open_data
from vm_images.tree import Tree

#: Top-level names that are links into /usr since bookworm (debootstrap's setup_merged_usr, without the ABIs that
#: nothing in the image has).
_MERGED_USR = ("bin", "lib", "sbin")
_LIB64 = {"amd64": ("lib64",), "arm64": ()}

_DPKG_FILES = ("status", "available")
_DPKG_FOLDERS = ("info", "updates", "triggers", "alternatives", "parts")


def merged_usr(architecture: str) -> tuple[tuple[str, str], ...]:
    """The aliases of a tree with merged /usr."""
    return tuple((name, f"usr/{name}") for name in (*_MERGED_USR, *_LIB64[architecture]))


def fill(tree: Tree, paths: Iterable[str], architecture: str, automatic: Iterable[str]) -> None:
    """Makes the tree from the .debs at `paths`. `automatic` packages are marked so for apt's autoremove."""
    for path in paths:
        with open_data(path) as data:
            tree.merge(data)
    _add_users(tree)
    tree.add_directory("mnt")  # base-files' postinst would: the packages are mounted there before it runs
    for folder in _DPKG_FOLDERS:
        tree.add_directory(f"var/lib/dpkg/{folder}")
    for name in _DPKG_FILES:
        tree.add_file(f"var/lib/dpkg/{name}", b"")
    tree.add_file("var/lib/apt/extended_states", _extended_states(automatic, architecture).encode())


def _add_users(tree: Tree) -> None:
    """What base-passwd's preinst would write, before anything asks who root is."""
    for name in ("passwd", "group"):
        master = tree.read(f"usr/share/base-passwd/{name}.master")
        if master is not None and f"etc/{name}" not in tree.nodes:
            tree.add_file(f"etc/{name}", master)


def _extended_states(packages: Iterable[str], architecture: str) -> str:
    """apt's record of what was not asked for by name."""
    return "".join(f"Package: {name}\nArchitecture: {architecture}\nAuto-Installed: 1\n\n" for name in sorted(packages))
