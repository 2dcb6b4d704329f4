"""The endpoint that `context create` and `context update` are asked for: all that it is, before anything is written.

It is replaced as a whole: a certificate of the old one would be shown to another host.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hostvm.cli import docker_contexts as store
from hostvm.cli.docker_hosts import check_host
from hostvm.cli.failure import Failure
from hostvm.cli.kinds import parse_bool

TYPE_CHECKING = False
if TYPE_CHECKING:
    Document = dict[str, object]

_OPTIONS = ("from", "host", "ca", "cert", "key", "skip-tls-verify")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`meta` is what meta.json says of it; `files` are certificates and key, by their names in the store."""

    meta: Document
    files: Mapping[str, bytes]


def resolve_endpoint(folder: str, options: Mapping[str, str], find: Callable[[str], Document]) -> Endpoint:
    """The endpoint of --docker's options, every file of it read; `find` gives a context's document. Raises Failure."""
    try:
        return _resolve(folder, options, find)
    except Failure as failure:
        raise Failure(f"unable to create docker endpoint config: {failure.text}", failure.code) from failure


def _resolve(folder: str, options: Mapping[str, str], find: Callable[[str], Document]) -> Endpoint:
    """As docker has it, nothing else counts beside `from`. Docker leaves the certificates behind there; we don't."""
    for key in options:
        if key not in _OPTIONS:
            raise Failure(f"{key}: unrecognized config key")
    if "from" in options:
        return read_endpoint(folder, find(options["from"]))
    paths = {name: options.get(name.partition(".")[0]) for name in store.TLS_FILES}
    files = {name: read_file(path) for name, path in paths.items() if path}
    skips = _parse_boolean(options.get("skip-tls-verify", "false"))
    host = options.get("host", "")
    if host:
        check_host(host)
    return Endpoint({**({"Host": host} if host else {}), "SkipTLSVerify": skips}, files)


def _parse_boolean(text: str) -> bool:
    try:
        return parse_bool(text)
    except ValueError as error:
        raise Failure(f"skip-tls-verify: {error}") from error


def read_endpoint(folder: str, document: Document) -> Endpoint:
    """The endpoint of a context in the store. Raises Failure."""
    name = str(document["Name"])
    place = f"{store.tls_folder(folder, name)}/docker"
    files = {file_name: read_file(f"{place}/{file_name}") for file_name in store.list_tls_files(folder, name)}
    return Endpoint(store.endpoint_of(document), files)


def read_file(path: str) -> bytes:
    """ "-" is standard input. Raises Failure."""
    try:
        if path == "-":
            return sys.stdin.buffer.read()
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Failure(f"open {path}: {(error.strerror or '').lower()}") from error
