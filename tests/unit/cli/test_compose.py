"""`compose` finds the installed one and leads it to this engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostvm.cli import compose


def program(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_dockers_plugin_comes_before_a_program_in_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "PLUGIN_FOLDERS", (f"{tmp_path}/system",))
    folder, path = f"{tmp_path}/docker", f"{tmp_path}/bin"
    assert compose.find_compose(folder, path) == ""
    for place in ("bin", "system", "docker/cli-plugins"):
        made = program(tmp_path / place / "docker-compose")
        assert compose.find_compose(folder, path) == made


def test_nothing_of_the_environment_leads_elsewhere() -> None:
    before = {"PATH": "/bin", "DOCKER_HOST": "tcp://x", "DOCKER_CONTEXT": "y", "DOCKER_TLS_VERIFY": "1"}
    assert compose.plan_environment(before, "/run/engine.sock") == {
        "PATH": "/bin",
        "DOCKER_HOST": "unix:///run/engine.sock",
    }
