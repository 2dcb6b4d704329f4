"""The engine's own code on its way into the guest: the installed package, appended to the image's root file system.

The kernel unpacks several cpio archives one after the other from one initial RAM disk (kernel documentation,
driver-api/early-userspace/buffer-format), so an upgraded hostvm boots its own engine in an image that is as it was.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass

from hostvm.machines.vm.code import digest_of, read_code
from vm_images.guest.bytecode import can_compile, compile_source, compiled_path
from vm_images.guest.cpio import write_cpio
from vm_images.guest.image import GuestImage
from vm_images.tree import Kind, Node, Tree

#: Where the guest has the engine's package, and how its interpreters find it.
_HOME = "usr/lib/hostvm"
_PACKAGES = "usr/lib/python3/dist-packages"
_INIT = b"import sys\nsys.path.insert(0, '/usr/lib/hostvm')\nfrom guest_agent.boot.main import main\nmain()\n"

#: Initial RAM disks that are kept: of the present code, and of the one before an upgrade.
_KEPT = 2


@dataclass(frozen=True, slots=True)
class Initrd:
    """An initial RAM disk; `code` is the digest of the engine's code in it."""

    path: str
    code: str


def ensure_initrd(image: GuestImage, cache: str) -> Initrd:
    """The initial RAM disk of this image with this code: made where it isn't in the cache yet."""
    code = read_code()
    digest = digest_of(code)
    path = f"{cache}/initrd/{image.id[:16]}-{digest[:16]}.cpio"
    if not os.path.exists(path):
        _make(path, image, code)
    return Initrd(path, digest)


def _make(path: str, image: GuestImage, code: dict[str, bytes]) -> None:
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    with (
        tempfile.NamedTemporaryFile(dir=folder, prefix="making-", delete=False) as made,
        tempfile.TemporaryFile() as spool,
    ):
        try:
            with open(image.rootfs, "rb") as rootfs:
                shutil.copyfileobj(rootfs, made, 1 << 20)
            write_cpio(plan_tree(Tree(spool), code, image.python), made, mtime=0, devices=())
            made.flush()
            os.replace(made.name, path)
        except BaseException:
            os.unlink(made.name)
            raise
    _forget_old(folder)


def plan_tree(tree: Tree, code: dict[str, bytes], python: str) -> Tree:
    """Sources, with their byte code where our interpreter makes what the guest's understands."""
    for path, source in code.items():
        tree.add_file(f"{_HOME}/{path}", source)
        if path.endswith(".py") and can_compile(python):
            tree.add_file(f"{_HOME}/{compiled_path(path, python)}", compile_source(source, f"/{_HOME}/{path}"))
    tree.add_file(f"{_HOME}/init.py", _INIT)
    tree.nodes[f"{_PACKAGES}/guest_agent"] = Node(Kind.SYMLINK, 0o777, target=f"/{_HOME}/guest_agent")
    tree.add_parents()
    return tree


def _forget_old(folder: str) -> None:
    """A running QEMU has read its own long ago."""
    entries = sorted((entry for entry in os.scandir(folder) if entry.name.endswith(".cpio")), key=_age)
    for entry in entries[:-_KEPT]:
        os.unlink(entry.path)


def _age(entry: os.DirEntry[str]) -> float:
    return entry.stat().st_mtime
