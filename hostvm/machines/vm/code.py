"""The engine's installed code, and its digest: by that a saved state knows whether it still fits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import guest_agent.wire


def read_code() -> dict[str, bytes]:
    """The installed engine's sources: path below the package's parent -> bytes."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(guest_agent.wire.__file__)))
    return {f"guest_agent/{os.path.relpath(path, package)}": _read(path) for path in _sources(package)}


def digest_of(code: dict[str, bytes]) -> str:
    """Changes when any file does."""
    digest = hashlib.sha256()
    for path in sorted(code):
        digest.update(f"{path}\0{len(code[path])}\0".encode() + code[path])
    return digest.hexdigest()


def _sources(package: str) -> Iterator[str]:
    for folder, folders, names in os.walk(package):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (f"{folder}/{name}" for name in names if not name.endswith(".pyc"))


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
