"""What a build sends of docker's config.json: the credentials of every registry, wherever they are kept."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from hostvm.cli.credentials import registry_config

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
