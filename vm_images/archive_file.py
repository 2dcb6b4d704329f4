"""An image as the archive that `load` takes: an OCI layout whose manifest.json older readers understand as well.

One layer, stored as a plain tar: it crosses a local socket, where compressing it would only cost time.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from vm_images.sums import hash_file

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """What an image says about running it. None = nothing said (the base image's holds)."""

    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()  #: "3306/tcp"
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layer:
    """A finished layer's tar."""

    path: str
    digest: str  #: "sha256:…"; diff id and blob digest are the same for a plain tar
    size: int


def hash_layer(path: str) -> Layer:
    return Layer(path, f"sha256:{hash_file(path)}", os.path.getsize(path))


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def encode_config(architecture: str, epoch: int, settings: Settings, layer: Layer, created_by: str) -> bytes:
    """The image's configuration; its digest is the image's id."""
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return _json({
        "architecture": architecture,
        "os": "linux",
        "created": created,
        "config": _encode_settings(settings),
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
        "history": [{"created": created, "created_by": created_by}],
    })  # fmt: skip


def _encode_settings(settings: Settings) -> dict[str, object]:
    optional: dict[str, object] = {
        "Cmd": list(settings.command) if settings.command is not None else None,
        "Entrypoint": list(settings.entrypoint) if settings.entrypoint else None,
        "ExposedPorts": {port: {} for port in settings.exposed},
        "Volumes": {volume: {} for volume in settings.volumes},
        "WorkingDir": settings.working_dir,
        "User": settings.user,
        "Labels": dict(settings.labels),
    }
    return {"Env": list(settings.environment), **{key: value for key, value in optional.items() if value}}


def encode_archive(reference: str, config: bytes, layer: Layer) -> Iterator[bytes]:
    """The archive's bytes, in chunks. `reference` is a familiar name with its tag."""
    config_hex = hashlib.sha256(config).hexdigest()
    layer_hex = layer.digest.removeprefix("sha256:")
    manifest = _json(_manifest(config, config_hex, layer))
    manifest_hex = hashlib.sha256(manifest).hexdigest()
    legacy = {"Config": f"blobs/sha256/{config_hex}", "RepoTags": [reference], "Layers": [f"blobs/sha256/{layer_hex}"]}
    yield from _member("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
    yield from _member("index.json", _json(_index(reference, manifest_hex, len(manifest))))
    yield from _member("manifest.json", _json([legacy]))
    yield from _member(f"blobs/sha256/{config_hex}", config)
    yield from _member(f"blobs/sha256/{manifest_hex}", manifest)
    yield from _file_member(f"blobs/sha256/{layer_hex}", layer)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _manifest(config: bytes, config_hex: str, layer: Layer) -> dict[str, object]:
    media = "application/vnd.oci.image"
    return {
        "schemaVersion": 2,
        "mediaType": f"{media}.manifest.v1+json",
        "config": {"mediaType": f"{media}.config.v1+json", "digest": f"sha256:{config_hex}", "size": len(config)},
        "layers": [{"mediaType": f"{media}.layer.v1.tar", "digest": layer.digest, "size": layer.size}],
    }


def _index(reference: str, manifest_hex: str, size: int) -> dict[str, object]:
    names = {
        "io.containerd.image.name": _full_name(reference),
        "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
    }
    descriptor = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": f"sha256:{manifest_hex}",
        "size": size,
        "annotations": names,
    }
    return {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [descriptor]}


def _full_name(reference: str) -> str:
    """The name with its registry, which is what containerd's annotation holds."""
    domain, slash, _ = reference.partition("/")
    if not slash:
        return f"docker.io/library/{reference}"
    return reference if "." in domain or ":" in domain or domain == "localhost" else f"docker.io/{reference}"


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def _member(name: str, data: bytes) -> Iterator[bytes]:
    yield _header(name, len(data)) + data + _padding(len(data))


def _file_member(name: str, layer: Layer) -> Iterator[bytes]:
    yield _header(name, layer.size)
    with open(layer.path, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
    yield _padding(layer.size)
