"""Docker's own store of contexts, below its configuration's folder (docker/cli, cli/context/store).

contexts/meta/<sha256 of the name>/meta.json   what it is
contexts/tls/<the same>/docker/*.pem           certificates and key of its endpoint
config.json                                    `currentContext`
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory

from guest_agent.wire.errors import NotFound
from hostvm.cli.docker_config import read_strictly, replace_document
from hostvm.cli.failure import Failure

#: Certificates and key as they are called in the store; the options of `context create --docker` are the first parts.
TLS_FILES = ("ca.pem", "cert.pem", "key.pem")


def context_file(folder: str, name: str) -> str:
    return f"{folder}/contexts/meta/{_digest(name)}/meta.json"


def tls_folder(folder: str, name: str) -> str:
    return f"{folder}/contexts/tls/{_digest(name)}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def list_contexts(folder: str) -> list[dict[str, object]]:
    """All that can be read, by their names."""
    found = []
    try:
        names = os.listdir(f"{folder}/contexts/meta")
    except FileNotFoundError:
        return []
    for name in names:
        document = _read_document(f"{folder}/contexts/meta/{name}/meta.json")
        if isinstance(document, dict) and document.get("Name"):
            found.append(document)
    return sorted(found, key=lambda document: str(document["Name"]))


def read_context(folder: str, name: str) -> dict[str, object]:
    """Raises NotFound in docker's words."""
    path = context_file(folder, name)
    document = _read_document(path)
    if not isinstance(document, dict):
        raise NotFound(f'context "{name}": context not found: open {path}: no such file or directory')
    return document


def find_host(folder: str, name: str) -> str:
    """The address of its endpoint, "" where it has none. Raises NotFound."""
    return str(endpoint_of(read_context(folder, name)).get("Host") or "")


def endpoint_of(document: dict[str, object]) -> dict[str, object]:
    endpoints = document.get("Endpoints")
    found = endpoints.get("docker") if isinstance(endpoints, dict) else None
    return found if isinstance(found, dict) else {}


def _read_document(path: str) -> object:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def save_context(folder: str, document: dict[str, object], files: Mapping[str, bytes]) -> None:
    """Replaces one of its name; the endpoint's files are `files` and no others. Raises Failure.

    All of it or nothing: half a new context may be a private key, half an old one has lost it.
    """
    context = str(document["Name"])
    own = tls_folder(folder, context)
    parent, name = os.path.split(own)
    try:
        os.makedirs(parent, 0o700, exist_ok=True)
        # Beside the context's folder: docker takes everything in that one for an endpoint.
        with TemporaryDirectory(dir=parent, prefix=f"{name}.") as beside:
            _write_files(f"{beside}/new", files)
            with _swapped(f"{own}/docker", beside):
                write_context(folder, document)
    except OSError as error:
        raise Failure(f"cannot write {own}: {error.strerror}") from error
    finally:
        for emptied in (own, os.path.dirname(context_file(folder, context))):
            with suppress(OSError):
                os.rmdir(emptied)


def _write_files(place: str, files: Mapping[str, bytes]) -> None:
    for file_name, content in files.items():
        os.makedirs(place, 0o700, exist_ok=True)
        with open(os.open(f"{place}/{file_name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)


@contextmanager
def _swapped(place: str, beside: str) -> Iterator[None]:
    """`beside`/new is at `place`, what was there is `beside`/old; they change back where the block fails."""
    _move(place, f"{beside}/old")
    try:
        _move(f"{beside}/new", place)
        yield
    except BaseException:
        _move(place, f"{beside}/new")
        _move(f"{beside}/old", place)
        raise


def _move(source: str, target: str) -> None:
    """Of what isn't there nothing comes."""
    if os.path.exists(source):
        os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
        os.rename(source, target)


def write_context(folder: str, document: dict[str, object]) -> None:
    """Replaces one of its name, and leaves its endpoint's files alone. Raises Failure."""
    replace_document(context_file(folder, str(document["Name"])), document)


def list_tls_files(folder: str, name: str) -> list[str]:
    try:
        return sorted(os.listdir(f"{tls_folder(folder, name)}/docker"))
    except FileNotFoundError:
        return []


def remove_context(folder: str, name: str) -> None:
    """What isn't there is no error; docker's current context goes back to its default when it was this one.

    The key goes first: whatever stops the removal, a context that is there still can be removed again. Raises Failure.
    """
    path = context_file(folder, name)
    if current_context(folder) == name:
        use_context(folder, "")
    try:
        with suppress(FileNotFoundError):
            shutil.rmtree(tls_folder(folder, name))
        with suppress(FileNotFoundError):
            os.unlink(path)
        with suppress(FileNotFoundError):
            os.rmdir(os.path.dirname(path))
    except OSError as error:
        raise Failure(f"cannot remove {path}: {error.strerror}") from error


def current_context(folder: str) -> str:
    """ "" where it is docker's default. Raises Failure."""
    return str(read_strictly(f"{folder}/config.json").get("currentContext") or "")


def use_context(folder: str, name: str) -> None:
    """Writes `currentContext` into docker's config.json, and leaves the rest of it alone. Raises Failure."""
    path = f"{folder}/config.json"
    config = read_strictly(path)
    config.pop("currentContext", None)
    replace_document(path, {**config, **({"currentContext": name} if name else {})})
