"""Every scenario in a process and mount namespace of its own, on the real kernel with the real crun and runc."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.behaviour.runtime.scenarios import SCENARIOS

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="containers need root"),
    pytest.mark.skipif(shutil.which("crun") is None or shutil.which("runc") is None, reason="crun or runc is missing"),
    pytest.mark.skipif(not os.path.exists("/bin/busybox"), reason="busybox-static isn't installed"),
]
_REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.behaviour.runtime.stage", scenario],
        cwd=_REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
