"""Images for the tests, built once from Debian's packages and kept as archives; each engine loads what it needs.

`python -m tests.behaviour.harness.images` makes those that are missing.
"""

from __future__ import annotations

import os
import subprocess

from tests.behaviour.harness.machine import HOSTVM

CACHE = f"{os.path.dirname(os.path.abspath(__file__))}/../../../.cache/images"

#: Name in the tests -> the words after `hostvm bootstrap`.
RECIPES = {
    "busybox": ("busybox",),
    "debian": ("debian:bookworm",),
    "mariadb": ("debian:bookworm", "--include", "mariadb-server", "--tag", "mariadb"),
}
#: Name in the tests -> name in the engine.
NAMES = {"busybox": "busybox", "debian": "debian:bookworm", "mariadb": "mariadb"}


def archive(name: str) -> str:
    """The path of an image's archive."""
    return os.path.normpath(f"{CACHE}/{name}.tar")


def build(name: str) -> None:
    """Makes an archive unless it is there; half a one never gets the name."""
    if os.path.exists(archive(name)):
        return
    os.makedirs(CACHE, exist_ok=True)
    unfinished = f"{archive(name)}.unfinished"
    subprocess.run([HOSTVM, "bootstrap", *RECIPES[name], "--output", unfinished], check=True, timeout=1200)
    os.replace(unfinished, archive(name))


if __name__ == "__main__":
    for recipe in RECIPES:
        build(recipe)
