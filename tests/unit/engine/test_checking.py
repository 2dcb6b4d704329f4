"""`system check`: what it takes for a stray."""

from __future__ import annotations

import os
from pathlib import Path

from guest_agent.engine.checking import stray_folders
from guest_agent.engine.table import ContainerTable
from guest_agent.store.paths import EnginePaths
from guest_agent.store.records import Records
from tests.unit.engine.records import container


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
