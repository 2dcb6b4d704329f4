"""Small files that are written whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress

from guest_agent.wire.errors import HostFailed


def write_document(path: str, data: bytes) -> None:
    """In a folder that is there. Raises HostFailed; then `path` is as it was, and nothing lies beside it."""
    part = f"{path}.{os.getpid()}"
    try:
        with open(part, "wb") as file:
            file.write(data)
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(part)
        raise HostFailed(f"cannot write {path}: {error.strerror}") from error


def keep_document(path: str, data: bytes) -> None:
    """The same, in a folder that is made where it is missing."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    except OSError as error:
        raise HostFailed(f"cannot write {path}: {error.strerror}") from error
    write_document(path, data)
