"""Keys: made once, read by OpenSSH and paramiko alike, never replaced."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from guest_agent.wire.errors import DataDamaged
from hostvm.machines.ssh.keys import keep_key_pair, make_key_pair


def test_a_key_is_made_once_whoever_asks(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "user"
    with ThreadPoolExecutor(4) as pool:
        pairs = list(pool.map(lambda _: keep_key_pair(str(path)), range(4)))
    assert len({pair.private for pair in pairs}) == 1
    assert [entry.name for entry in path.parent.iterdir()] == ["user"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_paramiko_and_openssh_read_it(tmp_path: Path) -> None:
    pair = keep_key_pair(str(tmp_path / "key"))
    parsed = pair.parsed()
    assert pair.public == f"{parsed.get_name()} {parsed.get_base64()}"
    told = subprocess.run(["ssh-keygen", "-y", "-f", str(tmp_path / "key")], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == pair.public


def test_a_damaged_key_is_said_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("no key")
    with pytest.raises(DataDamaged) as caught:
        keep_key_pair(str(path))
    assert str(path) in caught.value.message and "move that file away" in caught.value.hint
    assert path.read_text() == "no key"


def test_a_key_isnt_printed() -> None:
    assert "PRIVATE" not in repr(make_key_pair())
