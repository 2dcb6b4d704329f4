"""What all tests of other people's programs share."""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture(autouse=True)
def temporary_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Several of the programs leave files behind in it (buildx's copies of Dockerfiles, testcontainers' lock): they go
    with the test. Others make sockets there, so its path is short.
    """
    with TemporaryDirectory(prefix="hv-tmp-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield
