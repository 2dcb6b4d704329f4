"""The configuration file: what is right is taken, what is wrong is said with the file's name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from guest_agent.config import EngineConfig, load_config
from guest_agent.wire.errors import InvalidArgument

WHOLE = """
[engine]
bridge = "br7"
subnet = "10.9.0.0/16"
group = "wheel"
[logs]
driver = "local"
options = { max-size = "1m" }
[registries]
insecure = ["registry.local:5000"]
[registries.mirrors]
"docker.io" = ["https://one", "https://two"]
[bootstrap]
debian_mirror = "http://mirror/debian"
"""


def load(tmp_path: Path, text: str | bytes) -> EngineConfig:
    path = tmp_path / "config.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_config(str(path))


def test_a_missing_or_an_empty_file_means_defaults(tmp_path: Path) -> None:
    assert load_config(str(tmp_path / "none")) == EngineConfig() == load(tmp_path, "")


def test_every_setting(tmp_path: Path) -> None:
    mirrors: dict[str, tuple[str, ...]] = {"docker.io": ("https://one", "https://two")}
    expected = EngineConfig("br7", "10.9.0.0/16", "wheel", ("registry.local:5000",), mirrors)
    assert load(tmp_path, WHOLE) == replace(expected, log_driver="local", log_options={"max-size": "1m"})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[engine", "config.toml"),
        (b"[engine]\nbridge = '\xff'", "config.toml"),
        ("engine = 5", r"\[engine\] must be a table"),
        ("registries = []", r"\[registries\] must be a table"),
        ("[registries]\nmirrors = 1", r"\[mirrors\] must be a table"),
        ("[engine]\nbridge = 5", "bridge must be a string"),
        ("[engine]\nbirdge = 'x'", "no setting 'birdge'"),
        ("[registries]\ninsecure = 'x'", "insecure must be a list of strings"),
        ("[registries]\ninsecure = [1]", "insecure must be a list of strings"),
        ("[registries.mirrors]\n'docker.io' = 'https://one'", "docker.io must be a list of strings"),
        ("[logs]\ndrivers = 'local'", "no setting 'drivers'"),
        ("[logs.options]\nmax-size = 5", "max-size must be a string"),
        ("[enigne]\nbridge = 'x'", "'enigne'"),
        ("bridge = 'x'", "'bridge'"),
    ],
)
def test_what_is_wrong_is_the_users_fault(tmp_path: Path, text: str | bytes, complaint: str) -> None:
    with pytest.raises(InvalidArgument, match=complaint):
        load(tmp_path, text)


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="can't read"):
        load_config(str(tmp_path))
