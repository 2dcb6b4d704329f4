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


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("-p", "secret", "--password-stdin", "-u", "ann"), "conflicting options: cannot specify both --password and"),
        (("--password-stdin",), "the --password-stdin option requires --username to be set"),
        (("-u", "", "--password-stdin"), "username is empty"),
        (("-u", "ann", "-p", ""), "password is empty"),
        ((), "Error: Cannot perform an interactive login from a non TTY device"),
    ],
)
def test_flags_that_say_too_much_or_too_little(
    hostvm: Call, config: Path, words: tuple[str, ...], complaint: str
) -> None:
    outcome = hostvm("login", *words, "r.test")
    assert (outcome.code, complaint in outcome.err) == (1, True), outcome
    assert not config.exists()


def test_what_is_known_is_tried_again(hostvm: Call, config: Path) -> None:
    hostvm(*LOGIN)
    outcome = hostvm("login", "http://r.test/v2/")
    assert (outcome.code, outcome.out) == (0, "Login Succeeded\n")
    assert outcome.err.startswith("Authenticating with existing credentials... [Username: ann]\n")


def test_what_is_known_and_refused(
    hostvm: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_engine: Start
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text('{"auths": {"r.test": {"auth": "YW5uOnNlY3JldA=="}}}')
    start_engine(replies={"POST /auth": Reply({"message": "login attempt failed"}, 401)})
    outcome = hostvm("login", "r.test")
    assert outcome.code == 1 and "Stored credentials invalid or expired\n" in outcome.err


def test_an_identity_token_takes_the_password_s_place(
    hostvm: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_engine: Start
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    start_engine(replies={"POST /auth": Reply({"Status": "Login Succeeded", "IdentityToken": "kept"})})
    assert hostvm(*LOGIN).code == 0
    kept = json.loads((tmp_path / "config.json").read_text())
    assert kept == {"auths": {"r.test": {"auth": "YW5uOg==", "identitytoken": "kept"}}}
    assert stored_auth(kept, "r.test") == {
        "serveraddress": "r.test",
        "username": "ann",
        "password": "",
        "identitytoken": "kept",
    }


def test_info_lists_the_registries_that_are_configured(hostvm: Call, start_engine: Start) -> None:
    configured = {"InsecureRegistryCIDRs": ["127.0.0.0/8"], "IndexConfigs": {"r.test": {"Secure": False}}}
    mirrors = {"Mirrors": ["https://mirror.test/"]}
    start_engine(replies={"GET /info": Reply({"RegistryConfig": {**configured, **mirrors}})})
    expected = " Insecure Registries:\n  r.test\n  127.0.0.0/8\n Registry Mirrors:\n  https://mirror.test/\n"
    assert hostvm("info").out.endswith(expected)
