"""Which layers there are when one is to be removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guest_agent.layers.store import LayerStore, layer_name
from guest_agent.store.records import Records
from guest_agent.wire.errors import HostFailed
from guest_agent.wire.models import DiffId
from tests.unit.store.full_disk import full_disk

_FREE, _HELD = DiffId("sha256:" + "1" * 64), DiffId("sha256:" + "2" * 64)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    records = Records(str(tmp_path / "db"), str(tmp_path / "aside"))
    for diff_id in (_FREE, _HELD):
        (tmp_path / "layers" / layer_name(diff_id)).mkdir(parents=True)
        records.put("layer", diff_id, json.dumps({"size": 7}))
    return records


@pytest.fixture
def layers(tmp_path: Path, records: Records) -> LayerStore:
    store = LayerStore(records, str(tmp_path / "layers"), str(tmp_path / "temporary"))
    assert store.start() == [] and store.hold(_HELD)
    return store


def recorded(records: Records) -> set[str]:
    return {key for key, _ in records.items("layer")}


def test_what_is_held_stays_and_nobody_can_claim_what_goes(
    tmp_path: Path, layers: LayerStore, records: Records
) -> None:
    with layers.removing([_FREE, _HELD]):
        assert not layers.hold(_FREE)
    assert layers.known() == (_HELD,) and recorded(records) == {_HELD}
    assert (tmp_path / "layers" / layer_name(_HELD)).exists() and not (tmp_path / "layers" / layer_name(_FREE)).exists()
    layers.sweep()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_where_the_disk_is_full_all_stay(tmp_path: Path, layers: LayerStore, records: Records) -> None:
    """In memory they were gone, and with the next start of the engine there again."""
    with full_disk(records), pytest.raises(HostFailed), layers.removing([_FREE, _HELD]):
        pass
    with full_disk(records), pytest.raises(HostFailed):
        layers.set_layer_aside(_FREE, str(tmp_path / "aside"))
    assert set(layers.known()) == {_FREE, _HELD} == recorded(records) and layers.size(_FREE) == 7
    assert (tmp_path / "layers" / layer_name(_FREE)).exists() and layers.hold(_FREE)
