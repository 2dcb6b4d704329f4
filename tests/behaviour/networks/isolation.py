"""Runs each test of this folder in a network namespace of its own, which ends with the test's process.

`@isolated` replaces a test by one that starts a fresh interpreter under unshare(1) and has it run the body there.
Interfaces, rules, sysctls and sockets die with that namespace, so nothing can be left behind; the mount namespace is
private so that /sys and /run/netns are as well.
"""

from __future__ import annotations

import functools
import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable

import pytest

DEADLINE = 60.0
#: The child's exit status for a skip, whose reason it prints (the one that automake's test driver chose).
SKIPPED = 77


def isolated(test: Callable[[], None]) -> Callable[[], None]:
    """The test runs as root in namespaces of its own; its output is shown when it fails."""

    @functools.wraps(test)
    def outside() -> None:
        if os.geteuid() != 0:
            pytest.skip("network namespaces need root")
        argv = ["unshare", "--net", "--mount", "--fork", "--kill-child", sys.executable, "-m", __name__]
        done = subprocess.run(
            [*argv, test.__module__, test.__name__], capture_output=True, text=True, timeout=DEADLINE, check=False
        )
        if done.returncode == SKIPPED:
            pytest.skip(done.stdout.strip())
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

    outside.inside = test  # type: ignore[attr-defined]
    return outside


def main() -> None:
    module, name = sys.argv[1:]
    with tempfile.TemporaryDirectory() as tempfile.tempdir:
        try:
            getattr(importlib.import_module(module), name).inside()
        except pytest.skip.Exception as reason:
            print(reason)
            sys.exit(SKIPPED)


if __name__ == "__main__":
    main()
