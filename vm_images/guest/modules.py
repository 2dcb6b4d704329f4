"""Kernel modules: which ones the wanted need, and an order in which each can be loaded. Bytes in, names out.

Debian's package has no modules.dep (depmod runs on the machine), so it is read from the modules themselves: the ELF
section .modinfo holds `name=`, `depends=`, `softdep=` and `alias=`. A soft dependency may be an alias that only
modules.alias would explain (`crc32c` is crc32c_generic), and not loading it shows as "unknown symbol" or a failing
mount. What is built into the kernel is in modules.builtin and needs nothing.

A name is spelled with `_` here, whatever its file has.
"""

from __future__ import annotations

import posixpath
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from guest_agent.wire.errors import PeerMisbehaved


@dataclass(frozen=True, slots=True)
class Module:
    name: str
    path: str  #: in the tree, without the suffix of a compression
    depends: tuple[str, ...] = ()
    soft: tuple[str, ...] = ()  #: `softdep=pre:`, names or aliases
    aliases: tuple[str, ...] = ()


def module_name(path: str) -> str:
    """ "…/nf-tables.ko.xz" -> "nf_tables"."""
    return posixpath.basename(path).partition(".ko")[0].replace("-", "_")


def parse_module(path: str, data: bytes) -> Module:
    """Raises ValueError where it is no module."""
    fields: dict[str, list[str]] = {}
    for entry in _modinfo(data).split(b"\0"):
        key, _, value = entry.decode("utf-8", "replace").partition("=")
        fields.setdefault(key, []).append(value)
    depends = tuple(_spelled(name) for name in ",".join(fields.get("depends", ())).split(",") if name)
    soft = tuple(name for text in fields.get("softdep", ()) for name in _soft_names(text))
    return Module(module_name(path), path, depends, soft, tuple(fields.get("alias", ())))


def _spelled(name: str) -> str:
    return name.replace("-", "_")


def _soft_names(text: str) -> Iterator[str]:
    """ "pre: a b post: c" -> a, b: what is to be there before (modprobe.d(5))."""
    before = text.partition("pre:")[2].partition("post:")[0]
    yield from map(_spelled, before.split())


def _modinfo(data: bytes) -> bytes:
    """The section .modinfo (elf(5): section headers). Raises ValueError."""
    try:
        (table,) = struct.unpack_from("<Q", data, 40)
        size, count, names_at = struct.unpack_from("<HHH", data, 58)
        sections = [struct.unpack_from("<IIQQQQ", data, table + index * size) for index in range(count)]
        strings = sections[names_at][4]
        for name, _, _, _, offset, length in sections:
            if data.startswith(b".modinfo\0", strings + name):
                return data[offset : offset + length]
    except (struct.error, IndexError) as error:
        raise ValueError(f"a damaged kernel module: {error}") from error
    raise ValueError("a kernel module without .modinfo")


class ModuleSet:
    """A kernel's modules. `builtin` are the names of what the kernel itself holds."""

    def __init__(self, modules: Iterable[Module], builtin: Iterable[str]) -> None:
        self._modules = {module.name: module for module in modules}
        self._builtin = frozenset(builtin)

    def load_order(self, wanted: Sequence[str], loaded: Iterable[str] = ()) -> list[Module]:
        """`wanted` with all that they need and that isn't `loaded`, dependencies first. Raises PeerMisbehaved."""
        order: dict[str, Module] = {}
        done = set(loaded)
        for name in wanted:
            self._add(name, order, done)
        return list(order.values())

    def have(self, name: str) -> bool:
        return name in self._modules or name in self._builtin

    def _add(self, name: str, order: dict[str, Module], done: set[str]) -> None:
        if name in done or name in self._builtin:
            return
        done.add(name)
        module = self._modules.get(name)
        if module is None:
            raise PeerMisbehaved(f"the kernel package has no module {name}", "has the kernel's series changed?")
        for dependency in (*module.depends, *(found for it in module.soft for found in self._meant(it))):
            self._add(dependency, order, done)
        order[name] = module

    def _meant(self, name: str) -> Iterator[str]:
        """The modules that a soft dependency may mean. The generic implementation of an alias is the one that works
        on every processor; none at all is no error: it is soft."""
        if self.have(name):
            yield name
            return
        found = sorted(it.name for it in self._modules.values() if _answers(it, name))
        yield from [it for it in found if it.endswith("_generic")][:1] or found[:1]


def _answers(module: Module, alias: str) -> bool:
    return any(_spelled(it) in (alias, f"crypto_{alias}") for it in module.aliases)


def parse_builtin(text: str) -> tuple[str, ...]:
    return tuple(module_name(line) for line in text.splitlines() if line)


def encode_dependencies(modules: Iterable[Module], folder: str, order: Mapping[str, Sequence[Module]]) -> str:
    """modules.dep (modules.dep(5)): paths relative to the modules' folder, what is needed first stands last."""
    lines = []
    for module in sorted(modules, key=lambda it: it.path):
        needed = [posixpath.relpath(it.path, folder) for it in reversed(order[module.name]) if it is not module]
        lines.append(f"{posixpath.relpath(module.path, folder)}: {' '.join(needed)}".rstrip() + "\n")
    return "".join(lines)


def encode_aliases(modules: Iterable[Module]) -> str:
    """modules.alias: by these the kernel asks modprobe for what it misses."""
    return "".join(
        f"alias {alias} {module.name}\n"
        for module in sorted(modules, key=lambda it: it.name)
        for alias in sorted(module.aliases)
        if not fnmatchcase(alias, "*[[:space:]]*")
    )
