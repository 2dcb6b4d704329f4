"""What a build sends of docker's config.json: the credentials of every registry, wherever they are kept."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import cast

import pytest

from hostvm.cli.credentials import registry_auth, registry_config
from hostvm.cli.main import Context

#: Lists two registries, and knows the credentials of one.
_HELPER = """#!/bin/sh
[ "$1" = list ] && { echo '{"one:5000": "me", "gone:5000": "me"}'; exit; }
read registry
[ "$registry" = one:5000 ] || { echo failed; exit 1; }
echo '{"Username": "me", "Secret": "word"}'
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "docker-credential-fake"
    program.write_text(_HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("hostvm.cli.credentials.config_path", lambda: str(tmp_path / "config.json"))
    return tmp_path / "config.json"


@pytest.mark.parametrize(
    "kept",
    [{"credsStore": "fake"}, {"credHelpers": {"one:5000": "fake", "gone:5000": "fake"}}],
    ids=["one for all", "one for each"],
)
def test_helpers_are_asked(config: Path, kept: dict[str, object]) -> None:
    config.write_text(json.dumps(kept))
    found = json.loads(base64.urlsafe_b64decode(registry_config()))
    assert found == {"one:5000": {"serveraddress": "one:5000", "username": "me", "password": "word"}}


def test_a_helper_that_is_missing_costs_nothing_else(config: Path) -> None:
    auths = {"two:5000": {"auth": base64.b64encode(b"me:word").decode()}}
    config.write_text(json.dumps({"credsStore": "missing", "auths": auths}))
    assert list(json.loads(base64.urlsafe_b64decode(registry_config()))) == ["two:5000"]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("{broken", "Error parsing config file (PATH): Expecting property name"),
        ('{"auths": {"one:5000": {"auth": "no base64!"}}}', "Error parsing config file (PATH): auths of one:5000: "),
        ('{"auths": {"one:5000": {"auth": "\u00e9"}}}', "Error parsing config file (PATH): auths of one:5000: "),
        ('{"credsStore": "missing"}', 'error getting credentials - err: exec: "docker-credential-missing": executable'),
        ('{"credHelpers": {"gone:5000": "fake"}}', ""),
    ],
)
def test_what_cannot_be_had_is_a_warning(
    config: Path, capfd: pytest.CaptureFixture[str], text: str, warning: str
) -> None:
    """As with docker 28: the keyring of another machine, in a copied config.json, is in no public image's way."""
    config.write_text(text)
    assert registry_auth(cast(Context, None), "one:5000/app", pulling=True) == ""
    wanted = f"WARNING: {warning.replace('PATH', str(config))}" if warning else ""
    said = capfd.readouterr().err
    assert said.startswith(wanted) and bool(said) == bool(warning)
