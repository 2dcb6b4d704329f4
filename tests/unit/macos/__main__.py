"""`python -m tests.unit.macos import`: imports the whole host side; `… pytest ARGUMENT…`: runs unit tests."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator

from tests.unit.macos.pretence import pretend

pretend()


def modules(package: str) -> Iterator[str]:
    """The package and every module below it."""
    yield package
    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if not found.name.endswith(".__main__"):
            yield found.name


def main(words: list[str]) -> int:
    if words[0] == "import":
        for package in ("hostvm", "vm_images", "guest_agent.wire"):
            for name in modules(package):
                importlib.import_module(name)
                print(name)
        return 0
    import pytest

    return int(pytest.main(words[1:]))


sys.exit(main(sys.argv[1:]))
