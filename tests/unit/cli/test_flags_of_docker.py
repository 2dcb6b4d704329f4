"""Every verb and flag of docker's command line is ours, too; swarm's, plugins' and the verbs for signing aside.

The file was made from the help of docker 26.1 (Debian trixie's): a command, and its flags as "LETTER/NAME" or "NAME".
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hostvm.cli.table import load, paths

FLAGS: dict[str, str] = json.loads((Path(__file__).parent / "docker_26_flags.json").read_text())

#: docker's newer name for it, `--timeout`, has the letter.
WITHOUT_LETTER = {"time"}


def test_every_command() -> None:
    assert set(FLAGS) <= set(paths())


@pytest.mark.parametrize("path", FLAGS)
def test_every_flag(path: str) -> None:
    ours = {flag.name: flag.short for flag in load(path).flags}
    letters = set(ours.values())
    for spelling in FLAGS[path].split():
        letter, _slash, name = spelling.rpartition("/")
        assert name in ours
        assert letter == ours[name] or (name in WITHOUT_LETTER and letter in letters)
