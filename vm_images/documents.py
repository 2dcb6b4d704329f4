"""The files that the user names: the lock that is followed or written, and an SBOM that is written."""

from __future__ import annotations

import os

from guest_agent.wire.errors import Conflict, HostFailed, InvalidArgument
from vm_images.package_lock import PackageLock, parse_lock


def find_lock(path: str, release: str, architecture: str) -> PackageLock | None:
    """The lock at `path`; None where nothing is there, or `path` is "".

    Raises InvalidArgument, Conflict (it is for another release or architecture), HostFailed.
    """
    lock = _read_lock(path) if path else None
    if lock is not None and (lock.release, lock.architecture) != (release, architecture):
        raise Conflict(
            f"the lock file {path} is for {lock.release} on {lock.architecture}, not for {release} on {architecture}",
            "name another file: it is written where it is missing",
        )
    return lock


def _read_lock(path: str) -> PackageLock | None:
    try:
        with open(path, encoding="utf-8") as file:
            return parse_lock(file.read())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostFailed(f"cannot read the lock file {path}: {error.strerror}") from error
    except (ValueError, KeyError) as error:
        hint = "remove it, and it is written anew"
        raise InvalidArgument(f"cannot read the lock file {path}: {error}", hint) from error


def write_document(path: str, data: bytes) -> None:
    """Whole or not at all. Raises HostFailed."""
    part = f"{path}.{os.getpid()}"
    try:
        with open(part, "wb") as file:
            file.write(data)
        os.replace(part, path)
    except OSError as error:
        raise HostFailed(f"cannot write {path}: {error.strerror}") from error
