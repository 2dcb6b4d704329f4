"""`manifest`: lists of manifests, put together here and pushed by the engine.

A list in the making is a JSON file beside docker's config.json: manifest reference -> what a registry said of it.
"""

from __future__ import annotations

import base64
import json
import os

from guest_agent.wire.errors import NotFound
from hostvm.cli.arguments import Arguments
from hostvm.cli.credentials import registry_auth
from hostvm.cli.docker_config import docker_folder
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_error, write_out
from hostvm.cli.query import escape, with_query
from hostvm.cli.request.reference import full_name

_PLATFORM = ("architecture", "os", "os.version", "os.features", "variant")
#: Operating system -> what docker's command line lets it run on (cli/command/manifest/util.go).
_ARCHITECTURES = {
    "darwin": "386 amd64 arm arm64",
    "dragonfly": "amd64",
    "freebsd": "386 amd64 arm",
    "linux": "386 amd64 arm arm64 mips64 mips64le ppc64le riscv64 s390x",
    "netbsd": "386 amd64 arm",
    "openbsd": "386 amd64 arm",
    "plan9": "386 amd64",
    "solaris": "amd64",
    "windows": "386 amd64",
}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from hostvm.cli.main import Context

    Entries = dict[str, dict[str, Any]]


class _Registry:
    """The engine, as it is asked about registries; `insecure` allows them plain HTTP and any certificate."""

    __slots__ = ("context", "insecure")

    def __init__(self, context: Context, insecure: bool) -> None:
        self.context = context
        self.insecure = insecure


def create(context: Context, arguments: Arguments) -> int:
    name, *references = arguments.positional
    entries = _load(name)
    if entries and not arguments.flag("amend"):
        raise Failure("refusing to amend an existing manifest list with no --amend flag", 1)
    registry = _Registry(context, arguments.flag("insecure"))
    for reference in references:
        entries[full_name(reference)] = _look_up(registry, reference)
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
    system, architecture = entry["Platform"]["os"], entry["Platform"]["architecture"]
    if architecture not in _ARCHITECTURES.get(system, "").split():
        raise Failure(f"manifest entry for image has unsupported os/arch combination: {system}/{architecture}", 1)
    _save(name, entries)
    return 0


def inspect(context: Context, arguments: Arguments) -> int:
    """Of one name a list in the making, else what a registry has; of two the manifest that is in a list."""
    registry = _Registry(context, arguments.flag("insecure"))
    name, verbose = arguments.positional[-1], arguments.flag("verbose")
    entries = _load(arguments.positional[0])
    if len(arguments.positional) == 2:
        entry = _existing(arguments.positional[0]).get(full_name(name))
        if entry is None:
            raise Failure(f"No such manifest: {name}", 1)
        write_out(_pretty(_described(registry, entry) if verbose else json.loads(_manifest(registry, _place(entry)))))
    elif not entries:
        write_out(_of_registry(registry, full_name(name), verbose))
    elif verbose:
        write_out(_pretty([_described(registry, entry) for entry in entries.values()]))
    else:
        write_out(_pretty(document_of(entries)))
    return 0


def push(context: Context, arguments: Arguments) -> int:
    name = arguments.positional[0]
    entries = _existing(name)
    body = {"Name": full_name(name), "Manifests": list(entries.values()), "Insecure": arguments.flag("insecure")}
    answer = context.engine.call("POST", "/hostvm/manifests", body, _auth(context, name))
    repository = _repository(full_name(name))
    for entry in entries.values():
        if _repository(entry["Reference"]) != repository:
            write_out(f"Pushed ref {repository}@{entry['Digest']} with digest: {entry['Digest']}\n")
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
    keys = (("mediaType", "MediaType"), ("size", "Size"), ("digest", "Digest"))
    return {**{key: entry[source] for key, source in keys}, "platform": _ordered(entry["Platform"])}


def _ordered(platform: dict[str, Any]) -> dict[str, Any]:
    """As docker writes it."""
    return {key: platform[key] for key in _PLATFORM if platform.get(key)}


def _described(registry: _Registry, entry: dict[str, Any]) -> dict[str, Any]:
    """A manifest with everything that is known of it."""
    data = _manifest(registry, _place(entry))
    kind = "SchemaV2Manifest" if ".docker." in entry["MediaType"] else "OCIManifest"
    raw = base64.b64encode(data).decode()
    return {"Ref": entry["Reference"], "Descriptor": _descriptor(entry), "Raw": raw, kind: json.loads(data)}


def _place(entry: dict[str, Any]) -> str:
    return f"{_repository(entry['Reference'])}@{entry['Digest']}"


def _repository(reference: str) -> str:
    """Without tag and digest."""
    name = reference.partition("@")[0]
    return name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name


def _look_up(registry: _Registry, reference: str) -> dict[str, Any]:
    """What the registry has under it. Raises the engine's errors."""
    path = with_query(f"/distribution/{escape(reference)}/json", **{"hostvm-insecure": registry.insecure})
    answer = json.loads(_ask(registry, path, reference))
    platforms = answer.get("Platforms") or []
    if _is_list(answer["Descriptor"]["mediaType"]) or len(platforms) != 1:
        raise Failure(f"{reference} is a manifest list", 1, "name the manifests that are in it")
    return _entry(full_name(reference), {**answer["Descriptor"], "platform": platforms[0]})


def _entry(reference: str, descriptor: dict[str, Any]) -> dict[str, Any]:
    return {
        "Reference": reference,
        "MediaType": descriptor["mediaType"],
        "Digest": descriptor["digest"],
        "Size": descriptor["size"],
        "Platform": descriptor.get("platform") or {},
    }


def _of_registry(registry: _Registry, name: str, verbose: bool) -> str:
    document = json.loads(_manifest(registry, name))
    if not verbose:
        return _pretty(document)
    if "manifests" not in document:
        return _pretty(_described(registry, _look_up(registry, name)))
    listed = [_entry(f"{name}@{entry['digest']}", entry) for entry in document["manifests"]]
    return _pretty([_described(registry, entry) for entry in listed])


def _is_list(media_type: str) -> bool:
    return "manifest.list" in media_type or "image.index" in media_type


def _manifest(registry: _Registry, name: str) -> bytes:
    """As it is in the registry. Raises Failure, and the engine's errors."""
    return _ask(registry, with_query("/hostvm/manifests", name=name, insecure=registry.insecure), name)


def _ask(registry: _Registry, path: str, name: str) -> bytes:
    try:
        return registry.context.engine.open("GET", path, None, _auth(registry.context, name)).read()
    except NotFound as error:
        raise Failure(f"no such manifest: {full_name(name)}", 1) from error


def _auth(context: Context, name: str) -> str:
    auth = registry_auth(context, name, pulling=True)
    return f"X-Registry-Auth: {auth}\r\n" if auth else ""


def _pretty(value: object) -> str:
    """Docker indents a list by three spaces, as it is pushed, and all else by tabs."""
    is_list = isinstance(value, dict) and "manifests" in value
    return json.dumps(value, indent=3 if is_list else "\t") + "\n"


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
