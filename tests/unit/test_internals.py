"""docs/internals.md lists every path that the engine puts on disk, and nothing that it doesn't."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator

from guest_agent.store.paths import EnginePaths
from hostvm.machines.vm.paths import MachinePaths, VmPaths

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
#: Listed, but spelled elsewhere: the command line's own lock, by which two of them start one engine.
OF_THE_COMMAND_LINE = {"start.lock"}


def test_every_path_is_listed_and_nothing_else() -> None:
    listed = {place: set(listed_names(place)) for place in ("DATA", "RUN")}
    listed["RUN"] -= OF_THE_COMMAND_LINE
    assert listed == {"DATA": set(spelled_names("D")), "RUN": set(spelled_names("R"))}


def test_every_path_of_a_vm_machine_is_listed() -> None:
    places = VmPaths("DATA", "RUN", "CACHE")
    spelled = {*values_of(MachinePaths("FOLDER", "RUN")), places.accelerators, places.template("KEY").folder}
    assert set(listed_names("MACHINE")) == spelled | {"CACHE/initrd"}


def values_of(paths: MachinePaths) -> Iterator[str]:
    """Everything that its properties spell."""
    for _, member in inspect.getmembers(MachinePaths):
        if isinstance(member, property):
            yield member.__get__(paths)


def spelled_names(root: str) -> Iterator[str]:
    """The first component below a root of every path that EnginePaths spells; `<id>` where a name is put in."""
    paths = EnginePaths(data="D", run="R")
    for name, member in inspect.getmembers(EnginePaths):
        if isinstance(member, property):
            path = member.__get__(paths)
        elif inspect.isfunction(member) and not name.startswith("_"):
            path = member(paths, "<id>")
        else:
            continue
        place, _, below = path.partition("/")
        if place == root:
            yield below.split("/")[0]


def listed_names(place: str) -> Iterator[str]:
    """The first column of the table below the heading `## PLACE`."""
    with open(f"{ROOT}/docs/internals.md", encoding="utf-8") as file:
        (section,) = re.findall(rf"^## {place}\b.*?\n(.*?)(?=^## |\Z)", file.read(), re.M | re.S)
    for row in re.findall(r"^\| `(.+?)` \|", section, re.M):
        yield row.rstrip("/")
