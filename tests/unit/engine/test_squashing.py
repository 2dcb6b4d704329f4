"""`build --squash`: a layer put on what is below it stays inside of the root, whatever links are there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from guest_agent.engine.build_squash import apply_layer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="overlay's attributes and whiteouts need root")


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A layer, the root that it is put on, and a folder outside with a file."""
    layer, root, outside = (tmp_path / name for name in ("layer", "root", "outside"))
    for place in (layer, root, outside):
        place.mkdir()
    (outside / "kept").write_text("kept")
    return layer, root, outside


def test_an_opaque_folder_takes_the_place_of_a_link(places: tuple[Path, Path, Path]) -> None:
    layer, root, outside = places
    (root / "run").symlink_to(outside)
    opaque(layer / "run")
    (layer / "run" / "new").write_text("new")
    apply_layer(str(layer), str(root))
    assert os.listdir(outside) == ["kept"]
    assert not (root / "run").is_symlink()
    assert os.listdir(root / "run") == ["new"]


def test_a_whiteout_below_a_folder_that_replaces_a_link_removes_nothing(places: tuple[Path, Path, Path]) -> None:
    layer, root, outside = places
    (root / "run").symlink_to(outside)
    opaque(layer / "run")
    os.mknod(layer / "run" / "kept", 0o20000, 0)
    apply_layer(str(layer), str(root))
    assert os.listdir(outside) == ["kept"]
    assert os.listdir(root / "run") == []


def test_an_opaque_folder_hides_what_was_in_it(places: tuple[Path, Path, Path]) -> None:
    layer, root, _outside = places
    (root / "folder" / "below").mkdir(parents=True)
    opaque(layer / "folder")
    (layer / "folder" / "new").write_text("new")
    apply_layer(str(layer), str(root))
    assert os.listdir(root / "folder") == ["new"]


def opaque(folder: Path) -> None:
    folder.mkdir()
    os.setxattr(folder, "trusted.overlay.opaque", b"y")
