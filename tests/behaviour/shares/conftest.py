"""Shares without a VM: `share` is fresh for each test, `both` are a plain folder and one that a share leads to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from guest_agent.linux.mounts import unshare_mount_namespace
from tests.behaviour.shares.stage import NOBODY, Stage


@pytest.fixture(scope="session")
def own_mounts() -> None:
    """The mounts of these tests are this process's alone."""
    if os.geteuid() != 0:
        pytest.skip("mounting FUSE needs root")
    unshare_mount_namespace()


@pytest.fixture(scope="session")
def stage(own_mounts: None) -> Iterator[Stage]:
    """For tests that break nothing."""
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture
def share(own_mounts: None) -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture
def squashed(own_mounts: None) -> Iterator[Stage]:
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
