"""Files that a crash leaves whole: replaced in one step, removed for good, set aside in place of deleted."""

from __future__ import annotations

import json
import os
import time

from guest_agent.wire.errors import HostFailed


def replace_file(path: str, data: bytes, durable: bool = True) -> None:
    """Readers see the old content or the new one, after a power cut too where it is to be `durable`.

    Raises HostFailed; then `path` is as before.
    """
    fresh = f"{path}.new-{os.getpid()}"
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, data)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(fresh, path)
        if durable:
            sync_folder(os.path.dirname(path))
    except OSError as error:
        raise HostFailed(f"can't write {path}: {(error.strerror or str(error)).lower()}") from error
    finally:
        remove_file(fresh)


def replace_json(path: str, value: dict[str, object], durable: bool = True) -> None:
    """`replace_file` with one JSON object."""
    replace_file(path, json.dumps(value, indent=1).encode() + b"\n", durable)


def read_json(path: str) -> dict[str, object] | None:
    """None where there is no such file. Raises ValueError for what is no JSON object, OSError."""
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read())
    except FileNotFoundError:
        return None
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def sync_folder(path: str) -> None:
    """Puts renames and removals in a folder on the disk."""
    descriptor = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_file(path: str) -> bool:
    """False where there was none."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def set_aside(path: str) -> str:
    """Renames what can't be read, in its folder; returns the new name. Raises OSError."""
    aside = f"{path}.unreadable-{time.time_ns():x}"
    os.rename(path, aside)
    return aside


def make_private_folder(path: str) -> None:
    """0700: what is in it is the user's own. Raises HostFailed."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        if os.stat(path).st_mode & 0o077:
            os.chmod(path, 0o700)
    except OSError as error:
        raise HostFailed(
            f"can't use the folder {path}: {error.strerror}", "HOSTVM_DATA and HOSTVM_RUN name other ones"
        ) from error
