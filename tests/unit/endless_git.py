"""A git that never ends, for what has to end it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The FIFO into which it writes its pid."""
    fifo, program = tmp_path / "started", tmp_path / "git"
    os.mkfifo(fifo)
    program.write_text(f"#!/bin/sh\necho $$ >{fifo}\nexec sleep infinity\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return fifo
