"""`manifest`: lists of manifests, put together here and pushed by the engine.

A list in the making is a JSON file beside docker's config.json: manifest reference -> what a registry said of it.
"""

from __future__ import annotations

import json
import os

from hostvm.cli.arguments import Arguments
from hostvm.cli.credentials import registry_auth
from hostvm.cli.docker_config import docker_folder
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_error, write_out
from hostvm.cli.query import escape, with_query
from hostvm.cli.request.reference import full_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from hostvm.cli.main import Context

    Entries = dict[str, dict[str, Any]]


def create(context: Context, arguments: Arguments) -> int:
    name, *references = arguments.positional
    entries = _load(name)
    if entries and not arguments.flag("amend"):
        raise Failure(f"refusing to amend an existing manifest list with no --amend flag: {full_name(name)}", 1)
    for reference in references:
        entries[full_name(reference)] = _look_up(context, reference)
    _save(name, entries)
    write_out(f"Created manifest list {full_name(name)}\n")
    return 0


def annotate(context: Context, arguments: Arguments) -> int:
    name, reference = arguments.positional
    entries = _existing(name)
    entry = entries.get(full_name(reference))
    if entry is None:
        raise Failure(f"manifest for image {reference} does not exist in {name}", 1)
    for flag, key in (("os", "os"), ("arch", "architecture"), ("variant", "variant"), ("os-version", "os.version")):
        if arguments.given(flag):
            entry["Platform"][key] = arguments.text(flag)
    if arguments.given("os-features"):
        entry["Platform"]["os.features"] = arguments.texts("os-features")
    _save(name, entries)
    return 0


def inspect(context: Context, arguments: Arguments) -> int:
    name = arguments.positional[-1]
    entries = _load(arguments.positional[0])
    if len(arguments.positional) == 2:
        entry = _existing(arguments.positional[0]).get(full_name(name))
        if entry is None:
            raise Failure(f"No such manifest: {name}", 1)
        write_out(_pretty(_descriptor(entry)))
    elif entries:
        write_out(_pretty(document_of(entries)))
    else:
        write_out(_of_registry(context, name, arguments.flag("verbose")))
    return 0


def push(context: Context, arguments: Arguments) -> int:
    name = arguments.positional[0]
    entries = _existing(name)
    body = {"Name": full_name(name), "Manifests": list(entries.values())}
    answer = context.engine.call("POST", "/hostvm/manifests", body, _auth(context, name))
    write_out(f"{answer.get('Digest') if isinstance(answer, dict) else ''}\n")
    if arguments.flag("purge"):
        os.unlink(_path(name))
    return 0


def rm(context: Context, arguments: Arguments) -> int:
    missing = [name for name in arguments.positional if not _load(name)]
    for name in arguments.positional:
        if name not in missing:
            os.unlink(_path(name))
    for name in missing:
        write_error(f"No such manifest: {full_name(name)}\n")
    return 1 if missing else 0


def document_of(entries: Entries) -> dict[str, Any]:
    """The list that would be pushed. Pure."""
    docker = all(".docker." in str(entry["MediaType"]) for entry in entries.values())
    kinds = ("application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.oci.image.index.v1+json")
    manifests = [_descriptor(entry) for entry in entries.values()]
    return {"schemaVersion": 2, "mediaType": kinds[0 if docker else 1], "manifests": manifests}


def _descriptor(entry: dict[str, Any]) -> dict[str, Any]:
    keys = (("mediaType", "MediaType"), ("size", "Size"), ("digest", "Digest"), ("platform", "Platform"))
    return {key: entry[source] for key, source in keys}


def _look_up(context: Context, reference: str) -> dict[str, Any]:
    """What the registry has under it. Raises the engine's errors."""
    path = f"/distribution/{escape(reference)}/json"
    found = context.engine.call("GET", path, None, _auth(context, reference))
    answer: dict[str, Any] = found if isinstance(found, dict) else {}
    platforms = answer.get("Platforms") or []
    if len(platforms) != 1:
        raise Failure(f"{reference} is a manifest list", 1, "name the manifests that are in it")
    descriptor = answer["Descriptor"]
    return {
        "Reference": full_name(reference),
        "MediaType": descriptor["mediaType"],
        "Digest": descriptor["digest"],
        "Size": descriptor["size"],
        "Platform": platforms[0],
    }


def _of_registry(context: Context, name: str, verbose: bool) -> str:
    path = with_query("/hostvm/manifests", name=full_name(name))
    document = context.engine.call("GET", path, None, _auth(context, name))
    if not verbose:
        return _pretty(document)
    found = context.engine.call("GET", f"/distribution/{escape(name)}/json", None, _auth(context, name))
    descriptor = found.get("Descriptor") if isinstance(found, dict) else None
    return _pretty({"Ref": full_name(name), "Descriptor": descriptor, "Manifest": document})


def _auth(context: Context, name: str) -> str:
    auth = registry_auth(context, name, pulling=True)
    return f"X-Registry-Auth: {auth}\r\n" if auth else ""


def _pretty(value: object) -> str:
    return json.dumps(value, indent="\t") + "\n"


def _path(name: str) -> str:
    safe = full_name(name).replace(":", "-").replace("/", "_")
    return f"{docker_folder()}/manifests/hostvm/{safe}.json"


def _load(name: str) -> Entries:
    try:
        with open(_path(name), encoding="utf-8") as file:
            found = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Failure(f"{_path(name)} can't be read: {error}", 1) from error
    return found if isinstance(found, dict) else {}


def _existing(name: str) -> Entries:
    entries = _load(name)
    if not entries:
        raise Failure(f"No such manifest: {full_name(name)}", 1, "`hostvm manifest create` makes one")
    return entries


def _save(name: str, entries: Entries) -> None:
    path = _path(name)
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(entries, file, indent="\t")
    os.replace(temporary, path)
