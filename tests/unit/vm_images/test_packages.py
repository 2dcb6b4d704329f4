"""Catalogues, dependency resolution and the order of installation."""

from __future__ import annotations

import pytest

from guest_agent.wire.errors import Conflict, NotFound, PeerMisbehaved
from vm_images.debian.packages import Catalogue, Package, Relation, parse_relations
from vm_images.debian.resolver import Selection, closure, find_package, plan_batches, resolve


def paragraph(name: str, fields: str = "", version: str = "1.0") -> str:
    return f"Package: {name}\nVersion: {version}\n{fields}Filename: pool/{name}.deb\nSize: 1\nSHA256: {name}\n"


def catalogue(*paragraphs: str) -> Catalogue:
    return Catalogue([("http://mirror", "\n".join(paragraphs))])


def chosen(index: Catalogue, *names: str) -> Selection:
    return resolve(index, [find_package(index, name) for name in names])


def test_relations() -> None:
    assert parse_relations("a (>= 1:2.0~), b:any | c [amd64]") == (
        (Relation("a", ">=", "1:2.0~"),),
        (Relation("b"), Relation("c")),
    )


def test_the_newest_version_over_all_suites_counts() -> None:
    index = Catalogue([("http://old", paragraph("a", version="1.9")), ("http://new", paragraph("a", version="1.10"))])
    package = index.candidate("a")
    assert package is not None
    assert (package.version, package.url) == ("1.10", "http://new/pool/a.deb")


def test_minimal_is_what_is_essential_or_required() -> None:
    index = catalogue(paragraph("a", "Essential: yes\n"), paragraph("b", "Priority: required\n"), paragraph("c"))
    assert [package.name for package in index.minimal()] == ["a", "b"]


def test_dependencies_are_followed() -> None:
    index = catalogue(
        paragraph("a", "Depends: b, c (>= 1.0)\n"), paragraph("b", "Pre-Depends: d\n"), paragraph("c"), paragraph("d")
    )
    assert sorted(chosen(index, "a")) == ["a", "b", "c", "d"]


def test_the_first_alternative_is_taken_unless_another_is_there() -> None:
    index = catalogue(paragraph("a", "Depends: b | c\n"), paragraph("b"), paragraph("c"))
    assert sorted(chosen(index, "a")) == ["a", "b"]
    assert sorted(chosen(index, "a", "c")) == ["a", "c"]


def test_an_alternative_of_a_version_that_isnt_there_is_passed_over() -> None:
    index = catalogue(paragraph("a", "Depends: b (>> 1.0) | c\n"), paragraph("b"), paragraph("c"))
    assert sorted(chosen(index, "a")) == ["a", "c"]


def test_virtual_packages() -> None:
    index = catalogue(
        paragraph("a", "Depends: awk\n"),
        paragraph("mawk", "Provides: awk, x (= 2)\n"),
        paragraph("b", "Depends: x (>= 1)\n"),
    )
    assert sorted(chosen(index, "a")) == ["a", "mawk"]
    assert sorted(chosen(index, "b")) == ["b", "mawk"]


def test_an_unversioned_provide_satisfies_no_version() -> None:
    index = catalogue(paragraph("a", "Depends: awk (>= 1)\n"), paragraph("mawk", "Provides: awk\n"))
    with pytest.raises(PeerMisbehaved, match=r"a 1.0 depends on awk \(>= 1\), which the archive doesn't have"):
        chosen(index, "a")


def test_packages_that_exclude_each_other() -> None:
    index = catalogue(paragraph("a"), paragraph("b", "Conflicts: a\n"), paragraph("c", "Breaks: a (<< 1.0)\n"))
    assert sorted(chosen(index, "a", "c")) == ["a", "c"]
    with pytest.raises(Conflict, match="b and a can't be installed together"):
        chosen(index, "a", "b")


def test_a_package_may_conflict_with_what_it_provides_itself() -> None:
    index = catalogue(paragraph("a", "Provides: mta\nConflicts: mta\n"))
    assert sorted(chosen(index, "a")) == ["a"]


def test_an_unknown_package_has_a_hint() -> None:
    index = catalogue(paragraph("mariadb-server"), paragraph("mawk", "Provides: awk\n"))
    with pytest.raises(NotFound) as caught:
        find_package(index, "mariadb-sever")
    assert caught.value.hint == "did you mean mariadb-server?"
    with pytest.raises(NotFound) as caught:
        find_package(index, "awk")
    assert "mawk" in caught.value.hint


def test_a_closure_stays_within_the_selection() -> None:
    """gawk comes before mawk by name, and must not get into a system that was resolved to mawk."""
    index = catalogue(
        paragraph("base", "Pre-Depends: awk\nEssential: yes\n"), paragraph("gawk", "Provides: awk\n"),
        paragraph("mawk", "Provides: awk\nPriority: required\n"),
    )  # fmt: skip
    system = resolve(index, index.minimal())
    assert sorted(system) == ["base", "mawk"]
    assert sorted(closure([system["base"]], system)) == ["base", "mawk"]


def names(batches: list[list[Package]]) -> list[list[str]]:
    return [[package.name for package in batch] for batch in batches]


def test_a_pre_dependency_is_installed_by_an_earlier_command() -> None:
    index = catalogue(
        paragraph("a", "Pre-Depends: b\nDepends: d\n"), paragraph("b", "Depends: c\n"), paragraph("c"),
        paragraph("d", "Depends: a\n"), paragraph("e"),
    )  # fmt: skip
    packages = list(chosen(index, "a", "e").values())
    assert names(plan_batches(packages, {})) == [["b", "c", "e"], ["a", "d"]]


def test_what_is_installed_already_is_not_installed_again() -> None:
    index = catalogue(paragraph("a", "Pre-Depends: b\n"), paragraph("b"))
    packages = chosen(index, "a")
    assert names(plan_batches(list(packages.values()), {"b": packages["b"]})) == [["a"]]
