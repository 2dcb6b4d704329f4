"""A build's context: nothing of it stays open, and a mount takes only its part."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from guest_agent.build.trees import ContextTree, TreeReader
from guest_agent.engine.build_client import BuildClient
from guest_agent.engine.build_context import read_body
from guest_agent.engine.build_mounts import copy_source
from guest_agent.engine.build_requests import BuildRequest
from guest_agent.engine.build_web import Download
from guest_agent.engine.parts import Parts
from guest_agent.images.transport import RegistrySettings
from guest_agent.wire.errors import InvalidArgument
from tests.unit.descriptors import open_descriptors


@pytest.fixture
def tree(tmp_path: Path) -> ContextTree:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name in ("one", "folder/two", "big"):
            archive.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "one"
        archive.addfile(link)
    reader = TreeReader(str(tmp_path))
    reader.feed(data.getvalue())
    return reader.finish()


def test_a_remote_context_without_a_dockerfile_is_closed(
    tree: ContextTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Download, "context", lambda _download: (tree, ""))
    parts = cast(Parts, SimpleNamespace(paths=SimpleNamespace(temporary=str(tmp_path)), registries=RegistrySettings()))

    request = BuildRequest(remote="http://there/x.tar")
    with pytest.raises(InvalidArgument, match="Cannot locate specified Dockerfile"):
        asyncio.run(read_body(parts, request, no_chunks(), BuildClient({})))
    assert tree.find("big") is None
    assert not [place for place in open_descriptors() if place.startswith(f"{tmp_path}/")]


@pytest.mark.parametrize("dockerfile", ["one", "missing"])
def test_what_comes_beside_a_remote_context(
    tree: ContextTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dockerfile: str
) -> None:
    """Two trees have their content in a file each: both are closed."""
    monkeypatch.setattr(Download, "context", lambda _download: (tree, ""))
    parts = cast(Parts, SimpleNamespace(paths=SimpleNamespace(temporary=str(tmp_path)), registries=RegistrySettings()))
    request = BuildRequest(remote="http://there/x.tar", dockerfile=dockerfile, in_parts=True)
    sent = tar_of({"secret/a%2Fb": b"hidden", "named/extra/file": b"x", "context/big": b"left alone"})
    reading = read_body(parts, request, chunks_of(sent), BuildClient({}))
    if dockerfile == "missing":
        with pytest.raises(InvalidArgument):
            asyncio.run(reading)
    else:
        body = asyncio.run(reading)
        assert (body.secrets, list(body.named), body.named["extra"].names("")) == (
            {"a/b": b"hidden"},
            ["extra"],
            ["file"],
        )
        assert body.context is tree
        body.close()
    assert not [place for place in open_descriptors() if place.startswith(f"{tmp_path}/")]


def test_a_context_that_comes_packed(tmp_path: Path) -> None:
    parts = cast(Parts, SimpleNamespace(paths=SimpleNamespace(temporary=str(tmp_path))))
    packed = gzip.compress(tar_of({"Dockerfile": b"FROM scratch", "file": b"x"}))
    sent = tar_of({"context.tar/2": packed[20:], "context.tar/1": packed[:20], "named/extra/file": b"y"})
    body = asyncio.run(read_body(parts, BuildRequest(in_parts=True), chunks_of(sent), BuildClient({})))
    assert (body.dockerfile, body.context.names("")) == (b"FROM scratch", ["Dockerfile", "file"])
    assert body.named["extra"].read("file", 1) == b"y"
    body.close()
    assert not [place for place in open_descriptors() if place.startswith(f"{tmp_path}/")]


def tar_of(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


async def chunks_of(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def no_chunks() -> AsyncIterator[bytes]:
    chunks: tuple[bytes, ...] = ()
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize(
    ("source", "path", "copied"),
    [
        ("one", "one", ["one"]),
        ("/link", "link", ["link"]),
        ("folder", "", ["two"]),
        ("folder/two", "two", ["two"]),
        ("", "", ["big", "folder", "link", "one"]),
    ],
)
def test_a_mount_copies_its_source_alone(
    tree: ContextTree, tmp_path: Path, source: str, path: str, copied: list[str]
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    assert copy_source(tree, source, str(root)) == path
    assert sorted(os.listdir(root)) == copied
