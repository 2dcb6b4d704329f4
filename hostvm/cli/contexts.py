"""`context ls`, `create` and the like: docker's contexts, in docker's own store and docker's words.

They are what docker's command line goes by. Which engine a command of hostvm is about is said by -m, -H or -c.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import tarfile

from guest_agent.wire.errors import HostvmError
from hostvm.cli import docker_contexts as store
from hostvm.cli.arguments import Arguments
from hostvm.cli.context_endpoints import Endpoint, read_endpoint, read_file, resolve_endpoint
from hostvm.cli.docker_config import docker_folder
from hostvm.cli.docker_contexts import endpoint_of
from hostvm.cli.failure import Failure
from hostvm.cli.inspect import render_records
from hostvm.cli.listing import show
from hostvm.cli.output import write_error, write_out
from hostvm.cli.render.view import Row, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context

    Document = dict[str, object]

_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$")
_DEFAULT = "default"

CONTEXTS = View(
    "*formatter.clientContextContext",
    "Name",
    ("Name", "Description", "DockerEndpoint", "Error"),
    {
        "Name": ("NAME", lambda row: row.text("Name")),
        "Description": ("DESCRIPTION", lambda row: _description(row.record)),
        "DockerEndpoint": ("DOCKER ENDPOINT", lambda row: _host(row.record)),
        "Error": ("ERROR", lambda row: ""),
        "Current": ("", lambda row: "true" if row.record.get("Current") else "false"),
    },
)
#: What is shown where nobody asks for a format: the current one is marked.
TABLE = View(
    CONTEXTS.type_name,
    "Name",
    CONTEXTS.default,
    {**CONTEXTS.columns, "Name": ("NAME", lambda row: _marked(row))},
)


def _marked(row: Row) -> str:
    return row.text("Name") + (" *" if row.record.get("Current") else "")


def _description(document: Document) -> str:
    return str(_metadata(document).get("Description") or "")


def _metadata(document: Document) -> Document:
    metadata = document.get("Metadata")
    return metadata if isinstance(metadata, dict) else {}


def _host(document: Document) -> str:
    return str(endpoint_of(document).get("Host") or "")


def ls(context: Context, arguments: Arguments) -> int:
    folder = docker_folder()
    current = _current(context, folder)
    documents = [_default(context), *store.list_contexts(folder)]
    records = [{**document, "Current": document["Name"] == current} for document in documents]
    records.sort(key=lambda record: str(record["Name"]))
    plain = arguments.text("format") or arguments.flag("quiet")
    return show(CONTEXTS if plain else TABLE, records, arguments)


def _default(context: Context) -> Document:
    """The context that is always there: here it is hostvm's own engine."""
    return {
        "Name": _DEFAULT,
        "Metadata": {"Description": "hostvm's engine of the chosen machine"},
        "Endpoints": {"docker": {"Host": f"unix://{_default_socket(context)}", "SkipTLSVerify": False}},
    }


def _default_socket(context: Context) -> str:
    settings = context.settings
    return settings.socket if settings.docker_context in ("", _DEFAULT) else settings.own_socket


def _current(context: Context, folder: str) -> str:
    """As docker resolves it: what is said by an option, by the environment, by its configuration."""
    if context.settings.docker_context:
        return context.settings.docker_context
    if os.environ.get("DOCKER_HOST"):
        return _DEFAULT
    return os.environ.get("DOCKER_CONTEXT") or store.current_context(folder) or _DEFAULT


def show_current(context: Context, arguments: Arguments) -> int:
    write_out(_current(context, docker_folder()) + "\n")
    return 0


def use(context: Context, arguments: Arguments) -> int:
    (name,) = arguments.positional
    folder = docker_folder()
    if name != _DEFAULT:
        _find(context, folder, name)
    store.use_context(folder, "" if name == _DEFAULT else name)
    write_out(f"{name}\n")
    write_error(f'Current context is now "{name}"\n')
    return 0


def _find(context: Context, folder: str, name: str) -> Document:
    """Raises Failure."""
    if name == _DEFAULT:
        return _default(context)
    try:
        return store.read_context(folder, name)
    except HostvmError as error:
        raise Failure(error.message, 1) from error


def inspect(context: Context, arguments: Arguments) -> int:
    folder = docker_folder()
    names = arguments.positional or [_current(context, folder)]
    records = [_described(folder, _find(context, folder, name)) for name in names]
    write_out(render_records(records, arguments.text("format")))
    return 0


def _described(folder: str, document: Document) -> Document:
    name = str(document["Name"])
    kept = name != _DEFAULT
    files = store.list_tls_files(folder, name)
    storage = {
        "MetadataPath": os.path.dirname(store.context_file(folder, name)) if kept else "<IN MEMORY>",
        "TLSPath": store.tls_folder(folder, name) if kept else "<IN MEMORY>",
    }
    return {**document, "TLSMaterial": {"docker": files} if files else {}, "Storage": storage}


def create(context: Context, arguments: Arguments) -> int:
    (name,) = arguments.positional
    folder = docker_folder()
    _check_free(folder, name)
    base, endpoint = _choose_endpoint(context, folder, arguments)
    described = {"Description": text} if (text := arguments.text("description")) else {}
    document = {**base, "Name": name, "Metadata": {**_metadata(base), **described}}
    store.save_context(folder, _with_endpoint(document, endpoint), endpoint.files)
    write_out(f"{name}\n")
    write_error(f'Successfully created context "{name}"\n')
    return 0


def _choose_endpoint(context: Context, folder: str, arguments: Arguments) -> tuple[Document, Endpoint]:
    """The document that the new one follows, {} for none, and the new one's endpoint. Raises Failure.

    Where nothing is asked for it is a copy of the current context.
    """
    model, options = arguments.text("from"), _endpoint_options(arguments)
    if model and options:
        raise Failure("cannot use --docker flag when --from is set", 1)
    if options:
        return {}, resolve_endpoint(folder, options, lambda name: _find(context, folder, name))
    base = _find(context, folder, model or _current(context, folder))
    return base, read_endpoint(folder, base)


def _endpoint_options(arguments: Arguments) -> dict[str, str]:
    """Those of every --docker; {} where there is none, as an empty one is refused."""
    options: dict[str, str] = {}
    for pairs in arguments.many("docker"):
        assert isinstance(pairs, dict)
        options.update(pairs)
    return options


def _with_endpoint(document: Document, endpoint: Endpoint) -> Document:
    endpoints = document.get("Endpoints")
    others = endpoints if isinstance(endpoints, dict) else {}
    return {**document, "Endpoints": {**others, "docker": endpoint.meta}}


def _check_free(folder: str, name: str) -> None:
    """Raises Failure."""
    if name == _DEFAULT:
        raise Failure('"default" is a reserved context name', 1)
    if not _NAME.fullmatch(name):
        raise Failure(f'context name "{name}" is invalid, names are validated against regexp "{_NAME.pattern}"', 1)
    if os.path.exists(store.context_file(folder, name)):
        raise Failure(f'context "{name}" already exists', 1)


def update(context: Context, arguments: Arguments) -> int:
    (name,) = arguments.positional
    folder = docker_folder()
    if name == _DEFAULT:
        raise Failure('"default" is a reserved context name', 1)
    document = _find(context, folder, name)
    options = _endpoint_options(arguments)
    if arguments.given("description"):
        metadata = {**_metadata(document), "Description": arguments.text("description")}
        document = {**document, "Metadata": metadata}
    if options:
        endpoint = resolve_endpoint(folder, options, lambda model: _find(context, folder, model))
        store.save_context(folder, _with_endpoint(document, endpoint), endpoint.files)
    else:
        store.write_context(folder, document)
    write_out(f"{name}\n")
    write_error(f'Successfully updated context "{name}"\n')
    return 0


def rm(context: Context, arguments: Arguments) -> int:
    """Prints what is removed, then complains about the rest."""
    folder = docker_folder()
    complaints = []
    for name in arguments.positional:
        is_current = _current(context, folder) == name
        complaint = _why_not_removed(folder, name, arguments.flag("force"), is_current)
        if complaint:
            complaints.append(complaint)
            continue
        store.remove_context(folder, name)
        write_out(f"{name}\n")
    if complaints:
        raise Failure("\n".join(complaints), 1)
    return 0


def _why_not_removed(folder: str, name: str, force: bool, is_current: bool) -> str:
    if name == _DEFAULT:
        return 'context "default" cannot be removed'
    path = store.context_file(folder, name)
    if not force and not os.path.exists(path):
        return f'context "{name}": context not found: open {path}: no such file or directory'
    if not force and is_current:
        return f'context "{name}" is in use, set -f flag to force remove'
    return ""


def export(context: Context, arguments: Arguments) -> int:
    name = arguments.positional[0]
    folder = docker_folder()
    target = arguments.positional[1] if len(arguments.positional) > 1 else f"{name}.dockercontext"
    data = _pack(folder, _find(context, folder, name))
    if target == "-":
        if sys.stdout.isatty():
            raise Failure("cowardly refusing to export to a terminal, specify a file path", 1)
        sys.stdout.buffer.write(data)
        return 0
    try:
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except OSError as error:
        raise Failure(f"open {target}: {(error.strerror or '').lower()}", 1) from error
    write_error(f'Written file "{target}"\n')
    return 0


def _pack(folder: str, document: Document) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add(archive, "meta.json", json.dumps(document, separators=(",", ":")).encode())
        for file_name, content in read_endpoint(folder, document).files.items():
            _add(archive, f"tls/docker/{file_name}", content)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o600 if name.startswith("tls/") else 0o644
    archive.addfile(entry, io.BytesIO(content))


def import_context(context: Context, arguments: Arguments) -> int:
    name, source = arguments.positional
    folder = docker_folder()
    _check_free(folder, name)
    document, files = _unpack(read_file(source))
    store.save_context(folder, {**document, "Name": name}, files)
    write_out(f"{name}\n")
    write_error(f'Successfully imported context "{name}"\n')
    return 0


def _unpack(data: bytes) -> tuple[Document, dict[str, bytes]]:
    """meta.json, and the files of the endpoint. Raises Failure."""
    document: object = None
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for entry in archive:
                content = archive.extractfile(entry) if entry.isreg() else None
                if content and entry.name == "meta.json":
                    document = json.load(content)
                elif content and entry.name.rpartition("/")[2] in store.TLS_FILES and entry.name.count("/") == 2:
                    files[entry.name.rpartition("/")[2]] = content.read()
    except (tarfile.TarError, ValueError) as error:
        raise Failure(f"unexpected context file: {error}", 1) from error
    if not isinstance(document, dict):
        raise Failure("invalid context: no metadata found", 1)
    return document, files
