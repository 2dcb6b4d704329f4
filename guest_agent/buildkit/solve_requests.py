"""What POST /build?version=2 asks for -> the request that the same client would make of Control. Pure.

As dockerd translates it (builder/builder-next in its source): what only the classic builder knows, memory and
processors, is left aside.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence

from guest_agent.buildkit.attributes import FRONT_END, HOST_NETWORK, IMAGE_EXPORTERS, UPLOADED
from guest_agent.buildkit.messages import Exporter, SolveRequest
from guest_agent.engine.build_requests import BuildRequest
from guest_agent.images.reference import parse_reference
from guest_agent.wire.errors import InvalidArgument

#: Of `remote`: the client's folders, and a second request that brings a tar.
CLIENT_SESSION, UPLOAD_REQUEST = "client-session", "upload-request"
_MOBY = IMAGE_EXPORTERS[0]
#: The result goes into the cache alone.
_CACHE_ONLY = "cacheonly"


def plan_solve(request: BuildRequest, session: str, outputs: Sequence[Exporter]) -> SolveRequest:
    """Raises InvalidArgument."""
    if len(outputs) > 1:
        raise InvalidArgument("multiple outputs not supported")
    exporters = (_named(exporter, request.tags) for exporter in outputs or [Exporter(_MOBY)])
    return SolveRequest(
        ref=secrets.token_hex(16),
        session=session,
        frontend=FRONT_END,
        frontend_attrs=dict(_attributes(request)),
        entitlements=(HOST_NETWORK,) if request.network_mode == "host" else (),
        exporters=tuple(exporter for exporter in exporters if exporter.type != _CACHE_ONLY),
    )


def _named(exporter: Exporter, tags: Sequence[str]) -> Exporter:
    names = [parse_reference(tag).with_default_tag().canonical for tag in tags if tag]
    if not names or exporter.type not in IMAGE_EXPORTERS:
        return exporter
    return Exporter(exporter.type, {**exporter.attrs, "name": ",".join(dict.fromkeys(names))})


def _attributes(request: BuildRequest) -> Iterator[tuple[str, str]]:
    yield "filename", request.dockerfile
    yield "target", request.target
    yield "context", _context(request.remote)
    yield "cache-from", ",".join(request.cache_from)
    yield from ((f"build-arg:{name}", value) for name, value in request.arguments.items() if value is not None)
    yield from ((f"label:{name}", value) for name, value in request.labels.items())
    if request.no_cache:
        yield "no-cache", ""
    yield "image-resolve-mode", "pull" if request.pull else "default"
    yield "platform", request.platform
    yield "force-network-mode", _network_mode(request.network_mode)
    yield "add-hosts", ",".join(map(_extra_host, request.extra_hosts))
    yield "cgroup-parent", request.cgroup_parent
    yield "shm-size", str(max(request.shm_size, 0))
    yield "ulimit", ",".join(f"{one.name}={one.soft}:{one.hard}" for one in request.resources.ulimits)


def _context(remote: str) -> str:
    """A tar is in the request's body, or in that of another one."""
    if remote == CLIENT_SESSION:
        return ""
    return f"{UPLOADED}context" if remote in ("", UPLOAD_REQUEST) else remote


def _network_mode(mode: str) -> str:
    if mode not in ("", "default", "host", "none"):
        raise InvalidArgument(f'network mode "{mode}" not supported by buildkit')
    return "" if mode == "default" else mode


def _extra_host(host: str) -> str:
    name, _colon, address = host.partition(":")
    if not name or not address:
        raise InvalidArgument(f"invalid host {host}")
    return f"{name}={address}"
