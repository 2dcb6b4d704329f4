"""Modes as --chmod has them; chmod(1) itself says what is right."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guest_agent.build.modes import parse_mode


@pytest.mark.parametrize(
    ("text", "mode", "of_file", "of_folder"),
    [
        ("0644", 0o777, 0o644, 0o644),
        ("4755", 0o600, 0o4755, 0o4755),
        ("u=rwX,go=rX", 0o666, 0o644, 0o755),
        ("a+X", 0o744, 0o755, 0o755),
        ("+x", 0o640, 0o751, 0o751),
        ("g=u,o-rwx", 0o754, 0o770, 0o770),
        ("u+s,g+s", 0o755, 0o6755, 0o6755),
        ("=", 0o755, 0, 0),
        ("o+t,g-w+x", 0o660, 0o1650, 0o1650),
    ],
)
def test_modes(text: str, mode: int, of_file: int, of_folder: int) -> None:
    change = parse_mode(text)
    assert (change.apply(mode, False), change.apply(mode, True)) == (of_file, of_folder)


@pytest.mark.parametrize("text", ["", "8", "10000", "-1", "rw", "u=rw,", "u", "z+x", "0x1ff", "u=rg"])
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(ValueError, match="invalid chmod parameter: '"):
        parse_mode(text)


CLAUSES = st.from_regex(r"[ugoa]{1,2}([-+=]([ugo]|[rwx]{0,3})){1,2}", fullmatch=True)


@given(st.lists(CLAUSES, min_size=1, max_size=3).map(",".join), st.integers(0, 0o777))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_mode_is_what_chmod_makes_of_it(tmp_path: Path, text: str, mode: int) -> None:
    """But for X: GNU asks what the clauses before it made, BSD (and BuildKit) what the file was before them all."""
    file = tmp_path / "file"
    file.touch()
    os.chmod(file, mode)
    subprocess.run(["chmod", "--", text, file], check=True)
    assert parse_mode(text).apply(mode, False) == stat.S_IMODE(os.stat(file).st_mode)
