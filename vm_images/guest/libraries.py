"""Whether every program in a tree finds its shared libraries, as the dynamic loader will look for them (ld.so(8)).

There is no ld.so.cache in the image, so only the loader's own folders count. A missing library would show when the
program first runs, in a guest; here it is an error of the build.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from guest_agent.wire.errors import PeerMisbehaved
from vm_images.guest.elf import MACHINES, Elf, is_elf, parse_elf
from vm_images.tree import Kind, Tree

_TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
_MODULES = ".ko"


def library_folders(architecture: str) -> tuple[str, ...]:
    """Where Debian's loader looks without a cache, with /usr merged."""
    return f"usr/lib/{_TRIPLETS[architecture]}", "usr/lib", *(("usr/lib64",) if architecture == "amd64" else ())


def check_libraries(tree: Tree, architecture: str) -> None:
    """Raises PeerMisbehaved that names every program with what it lacks."""
    faults = list(find_faults(tree, architecture))
    if faults:
        raise PeerMisbehaved(
            f"the guest image isn't whole: {'; '.join(faults[:5])}",
            "a package has changed what it needs: add it to vm_images/guest/contents.py",
        )


def find_faults(tree: Tree, architecture: str) -> Iterator[str]:
    folders = library_folders(architecture)
    for path, elf in _programs(tree):
        if elf.machine != MACHINES[architecture]:
            yield f"/{path} is of another architecture"
        for name in elf.needed:
            if not any(_leads_to_file(tree, f"{folder}/{name}") for folder in folders):
                yield f"/{path} needs {name}"
        if elf.interpreter and not _leads_to_file(tree, elf.interpreter.strip("/")):
            yield f"/{path} needs {elf.interpreter}"


def _programs(tree: Tree) -> Iterator[tuple[str, Elf]]:
    for path in sorted(tree.nodes):
        data = b"" if path.endswith(_MODULES) else tree.read(path)
        if data and is_elf(data):
            yield path, _parse(path, data)


def _parse(path: str, data: bytes) -> Elf:
    try:
        return parse_elf(data)
    except ValueError as error:
        raise PeerMisbehaved(f"cannot read /{path} of the guest image: {error}") from error


def _leads_to_file(tree: Tree, path: str, links: int = 8) -> bool:
    """Follows links, those of merged /usr on the way as well."""
    top, slash, rest = path.partition("/")
    alias = tree.nodes.get(top)
    if slash and alias and alias.kind is Kind.SYMLINK:
        return _leads_to_file(tree, f"{alias.target}/{rest}", links)
    node = tree.nodes.get(path)
    if node is None or links == 0:
        return False
    if node.kind is Kind.SYMLINK:
        target = posixpath.normpath(posixpath.join("/", posixpath.dirname(path), node.target))
        return _leads_to_file(tree, target.strip("/"), links - 1)
    return node.kind in (Kind.FILE, Kind.HARDLINK)
