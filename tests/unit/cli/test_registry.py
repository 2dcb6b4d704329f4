"""`login` and `logout`, before a fake engine: what they leave in docker's config.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hostvm.cli.credentials import stored_auth
from tests.unit.cli.conftest import Outcome, Start
from tests.unit.cli.fake_engine import Reply

Call = Callable[..., Outcome]
LOGIN = ("login", "-u", "ann", "-p", "secret", "r.test")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_engine: Start) -> Path:
    folder = tmp_path / "docker"
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    start_engine(replies={"POST /auth": Reply({"Status": "Login Succeeded"})})
    return folder / "config.json"


def test_a_new_one_is_for_its_user_alone(hostvm: Call, config: Path) -> None:
    assert hostvm(*LOGIN).out == "Login Succeeded\n"
    assert config.stat().st_mode & 0o777 == 0o600
    kept = stored_auth(json.loads(config.read_text()), "r.test")
    assert kept == {"serveraddress": "r.test", "username": "ann", "password": "secret"}
    assert hostvm("logout", "r.test").out == "Removing login credentials for r.test\n"
    assert json.loads(config.read_text()) == {"auths": {}}


@pytest.mark.parametrize("words", [LOGIN, ("logout", "r.test"), ("context", "use", "default")])
def test_a_present_one_stays_what_it_is(hostvm: Call, config: Path, words: tuple[str, ...]) -> None:
    """Docker keeps its mode, and follows a link to it: it may be one of a folder under version control."""
    config.parent.mkdir()
    real = config.parent / "real.json"
    real.write_text('{"detachKeys": "ctrl-x"}')
    real.chmod(0o640)
    config.symlink_to("real.json")
    assert hostvm(*words).code == 0
    assert config.is_symlink() and real.stat().st_mode & 0o777 == 0o640
    assert json.loads(real.read_text())["detachKeys"] == "ctrl-x"


@pytest.mark.parametrize("words", [LOGIN, ("context", "use", "default")])
def test_what_cannot_be_written_is_told(
    hostvm: Call, config: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No bug of ours and no fault of the engine's; and nothing is left beside it."""

    def refuse(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", refuse)
    outcome = hostvm(*words)
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == f"cannot write {config}: No space left on device"
    assert list(config.parent.iterdir()) == []


@pytest.mark.parametrize("text", ["{broken", "[]"])
def test_what_cannot_be_read_is_not_replaced(hostvm: Call, config: Path, text: str) -> None:
    config.parent.mkdir()
    config.write_text(text)
    assert f"cannot read docker's configuration {config}" in hostvm(*LOGIN).err
    assert config.read_text() == text


def test_config_names_the_folder_for_credentials_too(hostvm: Call, config: Path, tmp_path: Path) -> None:
    assert hostvm("--config", str(tmp_path / "other"), *LOGIN).code == 0
    assert (tmp_path / "other" / "config.json").exists() and not config.exists()
