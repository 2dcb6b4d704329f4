"""OCI layouts made by hand: the input of skopeo and of `load`."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

OCI = "application/vnd.oci.image"


@dataclass(frozen=True)
class File:
    """A member of a layer's tar."""

    name: str
    data: bytes = b""
    type: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644
    uid: int = 0


def folder(name: str, mode: int = 0o755) -> File:
    return File(name, type=tarfile.DIRTYPE, mode=mode)


def make_tar(*members: File) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for member in members:
            header = tarfile.TarInfo(member.name)
            header.type, header.linkname, header.size = member.type, member.link, len(member.data)
            header.mode, header.uid, header.mtime = member.mode, member.uid, 1_600_000_000
            archive.addfile(header, io.BytesIO(member.data))
    return stream.getvalue()


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def compress(data: bytes, kind: str) -> tuple[bytes, str]:
    """(compressed, media type)."""
    media_type = f"{OCI}.layer.v1.tar"
    if kind in ("gzip", "gzip -1"):
        return gzip.compress(data, 1 if kind == "gzip -1" else 9, mtime=0), media_type + "+gzip"
    if kind == "zstd":
        return zstandard.ZstdCompressor().compress(data), media_type + "+zstd"
    return data, media_type


class Layout:
    """An OCI layout in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "blobs/sha256").mkdir(parents=True)
        (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def put(self, data: bytes, media_type: str) -> dict[str, Any]:
        digest = digest_of(data)
        (self.root / "blobs/sha256" / digest.removeprefix("sha256:")).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def put_image(self, *layers: bytes, kind: str = "gzip", architecture: str = "amd64") -> dict[str, Any]:
        """A manifest's descriptor with its platform."""
        config = {
            "architecture": architecture,
            "os": "linux",
            "created": "2024-05-06T07:08:09.123456789Z",
            "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": self.put(json.dumps(config).encode(), f"{OCI}.config.v1+json"),
            "layers": [self.put(*compress(layer, kind)) for layer in layers],
        }
        descriptor = self.put(json.dumps(manifest).encode(), f"{OCI}.manifest.v1+json")
        return {**descriptor, "platform": {"os": "linux", "architecture": architecture}}

    def finish(self, *manifests: dict[str, Any]) -> Path:
        index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": list(manifests)}
        (self.root / "index.json").write_text(json.dumps(index))
        return self.root

    def finish_list(self, *manifests: dict[str, Any]) -> Path:
        """An index whose one entry is an index: what `skopeo copy --all` pushes as a manifest list."""
        index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": list(manifests)}
        return self.finish(self.put(json.dumps(index).encode(), f"{OCI}.index.v1+json"))
