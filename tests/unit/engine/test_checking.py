"""`system check`: what it takes for a stray, and what it does with an image that can't be read."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from guest_agent.engine.checking import Checked, Finding, check, stray_folders
from guest_agent.engine.parts import Parts
from guest_agent.engine.table import ContainerTable
from guest_agent.images.store import ImageStore
from guest_agent.store.content import ContentStore
from guest_agent.store.paths import EnginePaths
from guest_agent.store.records import Records
from guest_agent.wire.models import DiffId
from tests.unit.engine.records import container
from tests.unit.images.fake_layers import FakeLayers


def test_folders_in_use_are_no_strays(tmp_path: Path) -> None:
    """A build's step has a folder and no record: with --repair a running build lost its root."""
    paths = EnginePaths(str(tmp_path / "data"), str(tmp_path / "run"))
    identities = {name: digit * 64 for name, digit in (("recorded", "a"), ("step", "b"), ("lost", "c"), ("stray", "d"))}
    for identity in identities.values():
        os.makedirs(paths.upper(identity))
    os.makedirs(paths.bundle(identities["step"]))
    records = Records(str(tmp_path / "engine.db"), str(tmp_path / "set-aside"))
    records.put("container", identities["lost"], "{}")
    table = ContainerTable(records, paths)
    table.load()
    table.save(container(identity=identities["recorded"]))
    assert stray_folders(paths, table) == [paths.container(identities["stray"])]
    records.close()


_LAYER = DiffId(f"sha256:{'a' * 64}")


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ('{"blobs": []}', f"layer {_LAYER} is missing"),
        ("[]", "its record is malformed"),
        ('{"blobs": ["sha256:.."]}', "its record is malformed"),
        ('{"blobs": [], "attached": ["x"]}', "its record is malformed"),
        ('{"blobs": 5}', "its record is malformed"),
        ("{", "its record is malformed"),
    ],
)
def test_an_image_whose_documents_are_not_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: str, problem: str
) -> None:
    """Its documents could be fetched, which mends nothing: the check ended there, each time."""
    records = Records(str(tmp_path / "engine.db"), str(tmp_path / "set-aside"))
    content = ContentStore(str(tmp_path / "content"))
    image_id = content.put(json.dumps({"rootfs": {"type": "layers", "diff_ids": [_LAYER]}}).encode())
    records.put("image", image_id, record)
    layers = FakeLayers(records)
    layers.present = set() if "layer" in problem else {_LAYER}
    images = ImageStore(records, content, layers)
    assert images.start() == [f"image {image_id} can't be used: {problem}"]

    async def fetch(*_arguments: object) -> str:
        return "registry/app"

    monkeypatch.setattr("guest_agent.engine.checking.fetch_documents", fetch)
    remedy = f"can't be mended ({problem}): its record and its names were removed"
    assert asyncio.run(_first_finding(images, records)) == Finding(f"image {image_id}", problem, remedy)
    assert images.start() == []
    records.close()


async def _first_finding(images: ImageStore, records: Records) -> Finding | Checked:
    parts = cast(Parts, SimpleNamespace(images=images, registries=None, records=records))
    return await anext(check(parts, repair=True))
