"""Packages files: what an archive offers.

A *catalogue* is every Packages file of a run together. Bookworm alone has 63 000 paragraphs in 47 MB, of which an
image needs a hundred: paragraphs are found by their name and parsed only when asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from vm_images.debian.control import parse_paragraphs
from vm_images.debian.versions import Version, satisfies


@dataclass(frozen=True, slots=True)
class Relation:
    """One alternative: `name (operator version)`; operator "" = any version."""

    name: str
    operator: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.operator} {self.version})" if self.operator else self.name


#: `a | b`: satisfied by any of its members.
Alternatives = tuple[Relation, ...]


@dataclass(frozen=True, slots=True)
class Package:
    """One binary package as its paragraph describes it. `base` is the URI that `filename` is relative to."""

    name: str
    version: str
    base: str
    filename: str
    size: int
    sha256: str
    depends: tuple[Alternatives, ...] = ()
    pre_depends: tuple[Alternatives, ...] = ()
    provides: tuple[Relation, ...] = ()
    #: Conflicts and Breaks together: neither may be configured beside this package.
    conflicts: tuple[Alternatives, ...] = ()
    essential: bool = False
    required: bool = False

    @property
    def url(self) -> str:
        return f"{self.base}/{self.filename}"

    def meets(self, relation: Relation) -> bool:
        """Whether this package satisfies `relation` by its own name or by what it provides (policy 7.5)."""
        if self.name == relation.name:
            return satisfies(self.version, relation.operator, relation.version)
        return any(
            provided.name == relation.name
            and (not relation.operator or (provided.operator == "=" and
                 satisfies(provided.version, relation.operator, relation.version)))
            for provided in self.provides
        )  # fmt: skip


_RELATION = re.compile(r"\s*([^\s(:\[]+)(?::\w+)?\s*(?:\(\s*([<>=]+)\s*([^)\s]+)\s*\))?")


def parse_relations(text: str) -> tuple[Alternatives, ...]:
    """A Depends-like field. An architecture qualifier (`:any`) is dropped: one architecture is installed."""
    return tuple(
        tuple(_parse_relation(alternative) for alternative in group.split("|"))
        for group in text.split(",")
        if group.strip()
    )


def _parse_relation(text: str) -> Relation:
    match = _RELATION.match(text)
    if match is None:
        raise ValueError(f"not a package relation: {text!r}")
    return Relation(match[1], match[2] or "", match[3] or "")


def parse_package(paragraph: str, base: str) -> Package:
    """A paragraph of a Packages file. Raises ValueError, KeyError when it lacks what every one has."""
    fields = next(iter(parse_paragraphs(paragraph)), {})
    return Package(
        name=fields["package"],
        version=fields["version"],
        base=base,
        filename=fields["filename"],
        size=int(fields["size"]),
        sha256=fields["sha256"],
        depends=parse_relations(fields.get("depends", "")),
        pre_depends=parse_relations(fields.get("pre-depends", "")),
        provides=tuple(relation for group in parse_relations(fields.get("provides", "")) for relation in group),
        conflicts=parse_relations(f"{fields.get('conflicts', '')},{fields.get('breaks', '')}"),
        essential=fields.get("essential") == "yes",
        required=fields.get("priority") == "required",
    )


class Catalogue:
    """Every package of some Packages files; of each name the newest version counts."""

    def __init__(self, indices: Iterable[tuple[str, str]]) -> None:
        """`indices` are (base URI, text of the Packages file)."""
        self._paragraphs: dict[str, list[tuple[str, str]]] = {}
        self._providers: dict[str, set[str]] = {}
        self._packages: dict[str, Package] = {}
        self._minimal: set[str] = set()
        for base, text in indices:
            for paragraph in text.split("\n\n"):
                self._add(base, paragraph.lstrip("\n"))

    def _add(self, base: str, paragraph: str) -> None:
        if not paragraph.startswith("Package: "):
            return
        name = paragraph[9 : paragraph.find("\n")].strip()
        self._paragraphs.setdefault(name, []).append((base, paragraph))
        if "\nProvides: " in paragraph:
            provides = paragraph.partition("\nProvides: ")[2].partition("\n")[0]
            for (relation,) in parse_relations(provides):
                self._providers.setdefault(relation.name, set()).add(name)
        if "\nEssential: yes" in paragraph or "\nPriority: required" in paragraph:
            self._minimal.add(name)

    def names(self) -> Iterable[str]:
        """Every package's name."""
        return self._paragraphs

    def candidate(self, name: str) -> Package | None:
        """The newest version of a package."""
        if name not in self._packages:
            found = [parse_package(paragraph, base) for base, paragraph in self._paragraphs.get(name, ())]
            if not found:
                return None
            self._packages[name] = max(found, key=lambda package: Version(package.version))
        return self._packages[name]

    def providers(self, name: str) -> tuple[Package, ...]:
        """The packages that provide a virtual one, by name."""
        found = (self.candidate(provider) for provider in sorted(self._providers.get(name, ())))
        return tuple(package for package in found if package is not None)

    def minimal(self) -> tuple[Package, ...]:
        """What is essential or has the priority `required`: debootstrap's minbase."""
        found = (self.candidate(name) for name in sorted(self._minimal))
        return tuple(package for package in found if package and (package.essential or package.required))

    def similar(self, name: str) -> str:
        """A package that `name` may be meant to be, or ""."""
        same_letter = [known for known in self._paragraphs if known[:1] == name[:1]]
        return next(iter(get_close_matches(name, same_letter, 1, 0.75)), "")
