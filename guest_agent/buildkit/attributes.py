"""What a client asks the Dockerfile front end for -> our own build's request. Pure.

The names are those of BuildKit's `dockerfile.v0` (frontend/dockerfile/builder, frontend/dockerui in its source) and of
its exporters. What can't be had here is an error in one sentence; what only describes the build is left aside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from guest_agent.build.reading import find_syntax
from guest_agent.buildkit.messages import Exporter, SolveRequest
from guest_agent.buildkit.named_contexts import parse_contexts
from guest_agent.engine.build_requests import BuildRequest
from guest_agent.wire.errors import InvalidArgument, Unsupported
from guest_agent.wire.resources import Resources, Ulimit

FRONT_END = "dockerfile.v0"
HOST_NETWORK = "network.host"
#: Exporters that make an image here: "moby" is the docker driver's.
IMAGE_EXPORTERS = ("moby", "image")
LOCAL, TAR = "local", "tar"
_SESSION = "http://buildkit-session"
#: A context that the client brings as a tar has an address below this; what follows the host is its path there.
UPLOADED = f"{_SESSION}/"
#: Front ends that are the Dockerfile's own, in every version.
_DOCKERFILE_IMAGE = re.compile(r"(docker\.io/)?docker/dockerfile(-upstream)?([:@].*)?")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job's build. `uploaded` is the path of a tar on the client's standard input, which is the context then.

    `is_folder`: the context is one of the session's folders, and so is the Dockerfile's.
    """

    request: BuildRequest
    contexts: Mapping[str, str]  #: name of a further context -> folder of the session
    uploaded: str = ""
    context_folder: str = "context"
    dockerfile_folder: str = "dockerfile"
    is_folder: bool = True


def exporters_of(request: SolveRequest) -> tuple[Exporter, ...]:
    """Old clients know one."""
    if request.exporters or not request.exporter:
        return request.exporters
    return (Exporter(request.exporter, request.exporter_attrs),)


def plan_build_request(attributes: Mapping[str, str], exporters: tuple[Exporter, ...]) -> Wanted:
    """Raises InvalidArgument, Unsupported."""
    _check_supported(attributes, exporters)
    named = parse_contexts(dict(_below(attributes, "context:")))
    remote = attributes.get("context", "")
    uploaded = remote.removeprefix(_SESSION) if remote.startswith(UPLOADED) else ""
    request = replace(
        _plan_options(attributes, exporters),
        remote="" if uploaded else remote,
        in_parts=not remote or bool(named.folders),
        named_images=named.images,
        named_remotes=named.remotes,
    )
    return Wanted(
        request,
        named.folders,
        uploaded,
        attributes.get("contextkey", "context"),
        attributes.get("dockerfilekey", "dockerfile"),
        is_folder=not remote,
    )


def _plan_options(attributes: Mapping[str, str], exporters: tuple[Exporter, ...]) -> BuildRequest:
    """All but where the files come from."""
    return BuildRequest(
        tags=tuple(_image_names(exporters)),
        dockerfile=attributes.get("filename", "") or "Dockerfile",
        target=attributes.get("target", ""),
        arguments=dict(_below(attributes, "build-arg:")),
        labels=dict(_below(attributes, "label:")),
        no_cache=attributes.get("no-cache") == "",
        no_cache_stages=frozenset(filter(None, attributes.get("no-cache", "").lower().split(","))),
        pull=attributes.get("image-resolve-mode", "") == "pull",
        cache_from=tuple(_cache_sources(attributes)),
        own_cache_too=True,
        platform=attributes.get("platform", ""),
        network_mode=_network_mode(attributes.get("force-network-mode", "")),
        extra_hosts=tuple(_extra_hosts(attributes.get("add-hosts", ""))),
        resources=Resources(ulimits=tuple(_ulimits(attributes.get("ulimit", "")))),
        cgroup_parent=attributes.get("cgroup-parent", ""),
        shm_size=_number(attributes, "shm-size"),
        for_files=not any(exporter.type in IMAGE_EXPORTERS for exporter in exporters),
        by_buildkit=True,
        workdir_for_user=True,
    )


def grants_host_network(entitlements: tuple[str, ...]) -> bool:
    """Raises InvalidArgument for what nobody gets here, as dockerd's own configuration has it."""
    for one in entitlements:
        if one != HOST_NETWORK:
            raise InvalidArgument(f"granting entitlement {one} is not allowed by build daemon configuration")
    return bool(entitlements)


def check_syntax(dockerfile: bytes, arguments: Mapping[str, str | None]) -> None:
    """The built-in front end stands for every version of docker/dockerfile. Raises Unsupported, DockerfileError."""
    wanted = arguments.get("BUILDKIT_SYNTAX") or find_syntax(dockerfile)
    if wanted and not _DOCKERFILE_IMAGE.fullmatch(wanted):
        raise Unsupported(f"the Dockerfile's front end {wanted} is not supported: only docker/dockerfile is built in")


def _check_supported(attributes: Mapping[str, str], exporters: tuple[Exporter, ...]) -> None:
    if request := attributes.get("requestid", ""):
        raise Unsupported(f"unsupported request {request}")
    if "," in attributes.get("platform", ""):
        raise Unsupported("multiple platforms feature is currently not supported: build for one platform at a time")
    for name in attributes:
        if name.startswith("attest:"):
            raise Unsupported("attestations are not supported")
    for exporter in exporters:
        if exporter.type not in (*IMAGE_EXPORTERS, LOCAL, TAR):
            raise Unsupported(f'exporter "{exporter.type}" could not be found')


def _below(attributes: Mapping[str, str], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in attributes.items():
        if name.startswith(prefix):
            yield name.removeprefix(prefix), value


def _image_names(exporters: tuple[Exporter, ...]) -> Iterator[str]:
    for exporter in exporters:
        if exporter.type in IMAGE_EXPORTERS:
            yield from (name for name in exporter.attrs.get("name", "").split(",") if name)


def _cache_sources(attributes: Mapping[str, str]) -> Iterator[str]:
    """Registries' images; other kinds of cache give nothing, as one that isn't there does."""
    yield from (name for name in attributes.get("cache-from", "").split(",") if name)
    text = attributes.get("cache-imports", "")
    try:
        entries = json.loads(text) if text else []
        for entry in entries:
            if entry["Type"] == "registry":
                yield str(entry["Attrs"]["ref"])
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidArgument(f"failed to unmarshal cache-imports ({text!r})") from error


def _network_mode(mode: str) -> str:
    if mode not in ("", "sandbox", "host", "none"):
        raise InvalidArgument(f"invalid network mode {mode}")
    return "" if mode == "sandbox" else mode


def _extra_hosts(text: str) -> Iterator[str]:
    """`name=address,...` as --add-host has it, with a colon."""
    for pair in filter(None, text.split(",")):
        name, equals, address = pair.strip('"').partition("=")
        if not name or not equals:
            raise InvalidArgument(f"invalid key-value pair {pair}")
        yield f"{name}:{address}"


def _ulimits(text: str) -> Iterator[Ulimit]:
    """`name=soft[:hard],...`"""
    for item in filter(None, text.split(",")):
        match = re.fullmatch(r'"?(\w+)=(-?\d{1,19})(?::(-?\d{1,19}))?"?', item)
        if match is None:
            raise InvalidArgument(f"invalid ulimit argument: {item}")
        yield Ulimit(match[1], int(match[2]), int(match[3] or match[2]))


def _number(attributes: Mapping[str, str], name: str) -> int:
    text = attributes.get(name, "") or "0"
    if not re.fullmatch(r"\d{1,18}", text):
        raise InvalidArgument(f"invalid {name}: {text}")
    return int(text)
