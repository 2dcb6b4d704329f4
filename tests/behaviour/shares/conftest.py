"""Shares without a VM: `share` is fresh for each test, `both` are a plain folder and one that a share leads to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.harness.worker import Worker
from tests.behaviour.shares.stage import NOBODY, Stage


@pytest.fixture(scope="module")
def stage(worker: Worker) -> Iterator[Stage]:
    """For tests that break nothing. It ends with their module: the audit of another's machine would find it."""
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture
def share(worker: Worker) -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture
def squashed(worker: Worker) -> Iterator[Stage]:
    """The server is a plain user."""
    stage = Stage(NOBODY)
    yield stage
    stage.close()


@pytest.fixture(params=["native", "share"])
def folder(request: pytest.FixtureRequest, stage: Stage) -> Iterator[Path]:
    """An empty folder, on the host itself and through a share: tests with it hold for both."""
    path = tempfile.mkdtemp(prefix="t ", dir=stage.host)
    yield Path(path if request.param == "native" else f"{stage.mount_point}{path}")


@pytest.fixture
def sides(stage: Stage) -> tuple[Path, Path]:
    """An empty folder: (as the host sees it, as the guest sees it)."""
    path = tempfile.mkdtemp(prefix="t ", dir=stage.host)
    return Path(path), Path(f"{stage.mount_point}{path}")
