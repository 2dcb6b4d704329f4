"""Docker's own configuration: config.json, and how a file of its folder is replaced.

`run` doesn't come here: what it needs of config.json is in `hostvm.cli.credentials`.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress

from hostvm.cli.credentials import config_path
from hostvm.cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    Document = dict[str, object]


def docker_folder() -> str:
    """Where docker's command line has its configuration."""
    return os.path.dirname(config_path())


def read_strictly(path: str) -> Document:
    """A config.json that will be replaced; {} where there is none. Raises Failure: what can't be read mustn't be."""
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Failure(f"cannot read docker's configuration {path}: {error}") from error
    if not isinstance(config, dict):
        raise Failure(f"cannot read docker's configuration {path}: it is no object")
    return config


def replace_document(path: str, content: Document) -> None:
    """Whole or not at all, and as docker does it. Raises Failure.

    config.json may hold credentials: a new one is for its user only. A present one keeps its mode and, as far as this
    user may give files away, its owner; a link to it stays a link.
    """
    path = os.path.realpath(path)
    draft = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        _write(draft, content, os.stat(path) if os.path.exists(path) else None)
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(draft)
        raise Failure(f"cannot write {path}: {error.strerror}") from error


def _write(path: str, content: Document, replaced: os.stat_result | None) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        if replaced:
            with suppress(OSError):
                os.fchown(descriptor, replaced.st_uid, replaced.st_gid)
        os.fchmod(descriptor, replaced.st_mode & 0o777 if replaced else 0o600)
        json.dump(content, file, indent="\t")
