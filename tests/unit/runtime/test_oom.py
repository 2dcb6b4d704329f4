"""Being told of kills, with a file in place of the kernel's: what is told once, and what isn't."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest_agent.runtime.cgroups import CgroupFacts
from guest_agent.runtime.oom import OomWatch


@pytest.mark.parametrize("version", [1, 2])
def test_a_group_that_has_gone_is_no_error(tmp_path: Path, version: int) -> None:
    hierarchy = "memory" if version == 1 else ""
    watch = OomWatch(CgroupFacts(version, False, {hierarchy: str(tmp_path)}))
    watch.watch("one", "/gone", lambda: pytest.fail("told"))
    watch.forget("one")
    watch.forget("one")
