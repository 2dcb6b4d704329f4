"""Image configurations: JSON <-> ImageConfig. Pure; what comes from outside is not trusted.

OCI image-spec config.md, and docker's additions (Healthcheck, OnBuild, Shell, ArgsEscaped).
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from guest_agent.images.manifests import parse_document, without_surrogates
from guest_agent.images.platforms import Platform
from guest_agent.store.content import digest_of, parse_digest
from guest_agent.wire.errors import InvalidArgument, PeerMisbehaved
from guest_agent.wire.models import (
    ContainerConfig,
    ContainerPort,
    DiffId,
    Healthcheck,
    HistoryEntry,
    ImageConfig,
    ImageId,
    Origin,
    Protocol,
)

_WHAT = "the image configuration"
#: RFC 3339 with any fraction; Python takes six digits of it.
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")


def parse_config(data: bytes) -> ImageConfig:
    """Raises PeerMisbehaved for anything that isn't a container image's configuration."""
    document = parse_document(data, _WHAT)
    rootfs = document.get("rootfs")
    if not isinstance(rootfs, dict) or rootfs.get("type") != "layers":
        raise PeerMisbehaved(f"{_WHAT} has no root file system of layers: not a container image")
    try:
        return ImageConfig(
            id=ImageId(digest_of(data)),
            architecture=str(document.get("architecture") or ""),
            os=str(document.get("os") or ""),
            variant=str(document.get("variant") or ""),
            created=str(document.get("created") or ""),
            config=_container_config(document.get("config") or {}),
            diff_ids=tuple(DiffId(parse_digest(str(item))) for item in rootfs.get("diff_ids") or ()),
            author=str(document.get("author") or ""),
            comment=str(document.get("comment") or ""),
            history=tuple(_history_entry(item) for item in document.get("history") or ()),
            origin=_origin(document),
        )
    except (InvalidArgument, TypeError, ValueError, AttributeError) as error:
        raise PeerMisbehaved(f"{_WHAT} is malformed: {error}") from error


def encode_config(
    platform: Platform,
    config: ContainerConfig,
    diff_ids: Sequence[DiffId],
    history: Sequence[HistoryEntry],
    created: str,
    author: str = "",
    comment: str = "",
    origin: Origin | None = None,
) -> bytes:
    """The JSON of an image that we make (commit, import); its digest is the image id."""
    document = {
        "architecture": platform.architecture,
        "os": platform.os,
        "variant": platform.variant,
        "created": created,
        "author": author,
        "comment": comment,
        "config": _plain_config(config),
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": [_plain_history(entry) for entry in history],
    }
    if origin is not None and origin.config is not None:
        document |= {"container": origin.container, "container_config": _plain_origin(origin.config)}
    optional = ("variant", "author", "comment")
    kept = {key: value for key, value in document.items() if value or key not in optional}
    return without_surrogates(json.dumps(kept, separators=(",", ":"), ensure_ascii=False)).encode()


def _container_config(plain: dict[str, Any]) -> ContainerConfig:
    return ContainerConfig(
        command=_words_or_none(plain.get("Cmd")),
        entrypoint=_words_or_none(plain.get("Entrypoint")),
        environment=_words(plain.get("Env")),
        working_dir=str(plain.get("WorkingDir") or ""),
        user=str(plain.get("User") or ""),
        labels={str(key): str(value) for key, value in (plain.get("Labels") or {}).items()},
        exposed_ports=tuple(_port(str(key)) for key in plain.get("ExposedPorts") or {}),
        volumes=tuple(str(key) for key in plain.get("Volumes") or {}),
        stop_signal=str(plain.get("StopSignal") or ""),
        stop_timeout=_number_or_none(plain.get("StopTimeout")),
        healthcheck=_healthcheck(plain.get("Healthcheck")),
        shell=_words(plain.get("Shell")),
        on_build=_words(plain.get("OnBuild")),
        args_escaped=bool(plain.get("ArgsEscaped")),
    )


def _origin(document: dict[str, Any]) -> Origin:
    plain = document.get("container_config") or {}
    config = dataclasses.replace(
        _container_config(plain),
        hostname=str(plain.get("Hostname") or ""),
        domainname=str(plain.get("Domainname") or ""),
        image=str(plain.get("Image") or ""),
        tty=bool(plain.get("Tty")),
        open_stdin=bool(plain.get("OpenStdin")),
    )
    version = str(document.get("docker_version") or "")
    return Origin(str(document.get("container") or ""), config if plain else None, version)


def _plain_origin(config: ContainerConfig) -> dict[str, Any]:
    own = {
        "Hostname": config.hostname,
        "Domainname": config.domainname,
        "Image": config.image,
        "Tty": config.tty,
        "OpenStdin": config.open_stdin,
    }
    return {**own, **_plain_config(config)}


def _plain_config(config: ContainerConfig) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "User": config.user,
        "ExposedPorts": {port: {} for port in sorted(map(str, config.exposed_ports))},
        "Env": list(config.environment),
        "Entrypoint": _list_or_none(config.entrypoint),
        "Cmd": _list_or_none(config.command),
        "Volumes": {path: {} for path in sorted(config.volumes)},
        "WorkingDir": config.working_dir,
        "Labels": dict(sorted(config.labels.items())),
        "StopSignal": config.stop_signal,
        "StopTimeout": config.stop_timeout,
        "Healthcheck": _plain_healthcheck(config.healthcheck),
        "Shell": list(config.shell),
        "OnBuild": list(config.on_build),
    }
    return {key: value for key, value in plain.items() if value or value == 0 or _is_none_on_purpose(key, value)}


def _is_none_on_purpose(key: str, value: Any) -> bool:
    """`CMD []` is another thing than no CMD."""
    return key in ("Cmd", "Entrypoint") and value == []


def _words(value: Any) -> tuple[str, ...]:
    return _words_or_none(value) or ()


def _words_or_none(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise ValueError(f"expected a list of strings, found {type(value).__name__}")
    return tuple(str(item) for item in value)


def _list_or_none(words: tuple[str, ...] | None) -> list[str] | None:
    return None if words is None else list(words)


def _number_or_none(value: Any) -> int | None:
    return None if value is None else int(value)


def _port(text: str) -> ContainerPort:
    number, _, protocol = text.partition("/")
    return ContainerPort(int(number), Protocol(protocol or "tcp"))


def _healthcheck(plain: Any) -> Healthcheck | None:
    if not isinstance(plain, dict):
        return None
    check = Healthcheck(
        test=_words(plain.get("Test")),
        interval=int(plain.get("Interval") or 0),
        timeout=int(plain.get("Timeout") or 0),
        start_period=int(plain.get("StartPeriod") or 0),
        start_interval=int(plain.get("StartInterval") or 0),
        retries=int(plain.get("Retries") or 0),
    )
    return None if check == Healthcheck() else check


def _plain_healthcheck(check: Healthcheck | None) -> dict[str, Any] | None:
    if check is None:
        return None
    plain = {
        "Test": list(check.test),
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
        "Retries": check.retries,
    }
    return {key: value for key, value in plain.items() if value}


def _history_entry(plain: dict[str, Any]) -> HistoryEntry:
    return HistoryEntry(
        created=str(plain.get("created") or ""),
        created_by=str(plain.get("created_by") or ""),
        comment=str(plain.get("comment") or ""),
        empty_layer=bool(plain.get("empty_layer")),
    )


def _plain_history(entry: HistoryEntry) -> dict[str, Any]:
    plain = {"created": entry.created, "created_by": entry.created_by, "comment": entry.comment}
    kept: dict[str, Any] = {key: value for key, value in plain.items() if value}
    return {**kept, "empty_layer": True} if entry.empty_layer else kept


def is_next_step(child: ImageConfig, parent: ImageConfig) -> bool:
    """Whether its history is the other one's and one line more: what dockerd asks of the parents in an archive."""
    return child.history[:-1] == parent.history


def parse_time(text: str) -> int:
    """RFC 3339 -> nanoseconds since the epoch; 0 for what isn't one, and for times before it."""
    match = _TIME.fullmatch(text)
    if match is None:
        return 0
    whole, fraction, zone = match.groups()
    try:
        seconds = datetime.fromisoformat(whole + ("+00:00" if zone == "Z" else zone)).timestamp()
    except ValueError:
        return 0
    return max(0, int(seconds) * 10**9 + int((fraction or "0")[:9].ljust(9, "0")))
