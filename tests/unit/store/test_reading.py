"""Records that can't be read don't stop an engine from starting: one of a volume, a layer or a build's step did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guest_agent.build.cache import BuildCache
from guest_agent.layers.store import LayerStore, layer_name
from guest_agent.store.paths import EnginePaths
from guest_agent.store.reading import read_all, records_set_aside
from guest_agent.store.records import Records
from guest_agent.volumes.store import Volumes
from guest_agent.wire.models import DiffId

DAMAGED = ["{", "[]", "5", "{}", '"x"', "null"]
LAYER = DiffId(f"sha256:{'a' * 64}")


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(str(tmp_path / "engine.db"), str(tmp_path / "set-aside"))


def test_what_can_t_be_read_is_set_aside_once(records: Records) -> None:
    records.put("number", "good", "5")
    records.put("number", "bad", "five")
    found, (warning,) = read_all(records, "number", int)
    assert found == {"good": 5} and warning.startswith("the record of number bad can't be read (")
    assert records.get("set-aside-number", "bad") == "five"
    assert read_all(records, "number", int) == (found, [])
    assert list(records_set_aside(records)) == [("number", "bad")]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_volume_s_record(records: Records, tmp_path: Path, text: str) -> None:
    records.put("volume", "data", text)
    paths = EnginePaths(str(tmp_path), str(tmp_path / "run"))
    volumes = Volumes(records, paths, lambda _: [], lambda _: None, lambda *_: None)
    (warning,) = volumes.start()
    assert "the record of volume data can't be read" in warning and volumes.list() == ()


@pytest.mark.parametrize("text", DAMAGED)
def test_a_layer_s_record_is_made_up_for(records: Records, tmp_path: Path, text: str) -> None:
    """Its folder went with the start, as what no record has, and its images with it."""
    tree = tmp_path / "layers" / layer_name(LAYER)
    tree.mkdir(parents=True)
    (tree / "file").write_bytes(b"12345")
    records.put("layer", LAYER, text)
    layers = LayerStore(records, str(tmp_path / "layers"), str(tmp_path / "temporary"))
    assert layers.start() == [] and layers.size(LAYER) == 5 and tree.exists()


@pytest.mark.parametrize("text", DAMAGED)
def test_a_step_s_record(records: Records, tmp_path: Path, text: str) -> None:
    records.put("build", "key", text)
    records.put("build", "good", json.dumps({"created": "", "diff_id": "", "used": 1}))
    layers = LayerStore(records, str(tmp_path / "layers"), str(tmp_path / "temporary"))
    cache = BuildCache(records, layers)
    assert len(cache) == 1 and len(cache.warnings) == 1
