"""The guest's root file system as a tree: packages' files, modules, settings, bytecode."""

from __future__ import annotations

import posixpath
import tarfile
import zipfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from guest_agent.wire.errors import PeerMisbehaved
from vm_images import busybox
from vm_images.guest import bytecode, settings
from vm_images.guest.contents import BOOT_MODULES, LATE_MODULES, MODULE_FOLDER, PYTHON, STDLIB, is_kept
from vm_images.guest.kernel import decompress
from vm_images.guest.modules import (
    Module,
    ModuleSet,
    encode_aliases,
    encode_dependencies,
    parse_builtin,
    parse_module,
)
from vm_images.tree import Kind, Node, Tree

#: Paths of modules in load order, one a line: what init loads, and what is there for whoever needs it.
BOOT_LIST = "usr/lib/hostvm/modules"
LATE_LIST = "usr/lib/hostvm/modules.late"

_DIST_PACKAGES = "usr/lib/python3/dist-packages"
_CERTIFICATES = "usr/share/ca-certificates/mozilla"
_COMPRESSIONS = (".xz", ".zst", ".gz")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel package, read. `modules` are compressed files by their path in the tree."""

    version: str
    image: bytes
    modules: dict[str, bytes]
    builtin: tuple[str, ...]


def read_kernel(data: tarfile.TarFile) -> Kernel:
    """Raises PeerMisbehaved where a part is missing."""
    image, modules, builtin = b"", {}, ""
    for member in data:
        path = posixpath.normpath(member.name)
        if not member.isreg():
            continue
        if path.startswith("boot/vmlinuz-"):
            image = _content(data, member)
        elif path.endswith("/modules.builtin"):
            builtin = _content(data, member).decode()
        elif ".ko" in posixpath.basename(path):
            modules[_merged(path)] = _content(data, member)
    if not image or not modules:
        raise PeerMisbehaved("the kernel package holds no kernel or no modules")
    version = next(iter(modules)).removeprefix(f"{MODULE_FOLDER}/").partition("/")[0]
    return Kernel(version, image, modules, parse_builtin(builtin))


def _content(data: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = data.extractfile(member)
    assert file is not None
    return file.read()


def _merged(path: str) -> str:
    return path if path.startswith("usr/") else f"usr/{path}"


def add_modules(tree: Tree, kernel: Kernel) -> None:
    """The wanted modules, decompressed, the two lists, and what modprobe reads. Raises PeerMisbehaved."""
    compressed = {_plain(path): data for path, data in kernel.modules.items()}
    known = ModuleSet((_module(path, data) for path, data in compressed.items()), kernel.builtin)
    boot = known.load_order(BOOT_MODULES)
    late = known.load_order([it for it in LATE_MODULES if known.have(it)], [it.name for it in boot])
    for module in (*boot, *late):
        tree.add_file(module.path, decompress(compressed[module.path]))
    tree.add_file(BOOT_LIST, _list(boot))
    tree.add_file(LATE_LIST, _list(late))
    _add_indices(tree, known, (*boot, *late), f"{MODULE_FOLDER}/{kernel.version}")


def _plain(path: str) -> str:
    return next((path.removesuffix(it) for it in _COMPRESSIONS if path.endswith(it)), path)


def _module(path: str, data: bytes) -> Module:
    try:
        return parse_module(path, decompress(data))
    except ValueError as error:
        raise PeerMisbehaved(f"cannot read the kernel module {path}: {error}") from error


def _list(modules: Iterable[Module]) -> bytes:
    return "".join(f"/{module.path}\n" for module in modules).encode()


def _add_indices(tree: Tree, known: ModuleSet, modules: Sequence[Module], folder: str) -> None:
    order = {module.name: known.load_order([module.name]) for module in modules}
    tree.add_file(f"{folder}/modules.dep", encode_dependencies(modules, folder, order).encode())
    tree.add_file(f"{folder}/modules.alias", encode_aliases(modules).encode())


def add_package(tree: Tree, data: tarfile.TarFile, patterns: Collection[str]) -> None:
    """Raises PeerMisbehaved, also where nothing of it is wanted: its files have moved, and `contents` doesn't know."""
    before = len(tree.nodes)
    tree.merge(data, lambda path, member: not member.isdir() and is_kept(path, patterns))
    if len(tree.nodes) == before:
        raise PeerMisbehaved(f"a package has no file that fits {', '.join(patterns)}", "is it Debian's?")


def add_wheel(tree: Tree, wheel: zipfile.ZipFile, patterns: Iterable[str]) -> None:
    for info in sorted(wheel.infolist(), key=lambda it: it.filename):
        if not info.is_dir() and is_kept(info.filename, patterns):
            tree.add_file(f"{STDLIB}/{info.filename}", wheel.read(info))


def finish(tree: Tree, with_bytecode: bool) -> None:
    """What is made of the packages' files, and what comes from no package. Raises PeerMisbehaved."""
    _move_packages(tree)
    _add_certificates(tree)
    _add_applets(tree)
    _add_settings(tree)
    if with_bytecode:
        _add_bytecode(tree)


def _move_packages(tree: Tree) -> None:
    """Python's packages go beside the standard library: init runs without `site`, which would add their folder."""
    for path in [it for it in tree.nodes if it.startswith(f"{_DIST_PACKAGES}/")]:
        tree.nodes[f"{STDLIB}/{path.removeprefix(_DIST_PACKAGES)[1:]}"] = tree.nodes.pop(path)


def _add_certificates(tree: Tree) -> None:
    """One bundle, as update-ca-certificates makes it."""
    paths = sorted(it for it in tree.nodes if it.startswith(f"{_CERTIFICATES}/"))
    parts = [tree.read(path) or b"" for path in paths]
    tree.add_file(settings.CERTIFICATES, b"".join(it.rstrip(b"\n") + b"\n" for it in parts))
    for path in paths:
        del tree.nodes[path]


def _add_applets(tree: Tree) -> None:
    """A link for each of busybox's applets whose name no real program has."""
    binary = tree.read("usr/bin/busybox")
    assert binary is not None, "add_package has seen to that"
    taken = {posixpath.basename(path) for path in tree.nodes if posixpath.dirname(path) in ("usr/bin", "usr/sbin")}
    for applet in busybox.find_applets(binary):
        if applet not in taken:
            _link(tree, f"usr/bin/{applet}", "busybox")
    for name in ("modprobe", "init"):  # the kernel calls these by their path
        _link(tree, f"usr/sbin/{name}", "../bin/busybox")


def _link(tree: Tree, path: str, target: str) -> None:
    tree.nodes[path] = Node(Kind.SYMLINK, 0o777, target=target)


def _add_settings(tree: Tree) -> None:
    for path, mode in settings.FOLDERS.items():
        tree.add_directory(path, mode)
    for path, text in settings.FILES.items():
        tree.add_file(path, text.encode())
    tree.add_file("etc/shadow", settings.SHADOW.encode(), 0o640)
    for path, target in settings.LINKS.items():
        _link(tree, path, target)


def _add_bytecode(tree: Tree) -> None:
    for path in sorted(it for it in tree.nodes if it.startswith(f"{STDLIB}/") and it.endswith(".py")):
        source = tree.read(path)
        if source is not None:
            tree.add_file(bytecode.compiled_path(path, PYTHON), bytecode.compile_source(source, f"/{path}"))
