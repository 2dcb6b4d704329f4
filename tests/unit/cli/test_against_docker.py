"""The command line against what docker's own (28.2.2) sent and said for the same words.

`docker_28.json` was recorded with docker's CLI before an engine that took everything: the bodies of `containers/create`
without their zero values, and the refusals with `hostvm` in place of `docker`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hostvm.cli.main import run
from hostvm.cli.parse import parse
from hostvm.cli.request.create import plan_create
from hostvm.cli.run import absolute
from hostvm.cli.table import load

RECORDED = json.loads((Path(__file__).parent / "docker_28.json").read_text())
FILES = {
    "envgood": "# c\nA=1\n  B=2 3\nFROM_FILE\n\nC=\n",
    "labelgood": "x=1\ny\n",
    "envbad1": "A B=3\n",
    "envbad2": "=3\n",
}
VARIABLES = {"PASSED": "on", "FROM_FILE": "file"}

#: What docker's client fills in though nobody asked for it; the engine has the same defaults.
FILLED_IN: dict[str, object] = {"ConsoleSize": [0, 0], "MemorySwappiness": -1, "RestartPolicy": {"Name": "no"}}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "some" / "where"
    folder.mkdir(parents=True)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    return tmp_path


def lean(value: object) -> object:
    """Without zero values, in which docker's body and ours may differ."""
    if isinstance(value, dict):
        items = {key: lean(item) for key, item in value.items() if item != FILLED_IN.get(key, ...)}
        return {key: item for key, item in items.items() if item not in (None, "", 0, False, [], {})}
    return [lean(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("record", RECORDED["bodies"], ids=lambda record: " ".join(record["words"]))
def test_body_is_dockers(record: dict[str, list[str]], here: Path) -> None:
    arguments = parse(load("create"), record["words"])
    body = plan_create(arguments, VARIABLES.get, absolute)
    ours = json.loads(json.dumps(lean(body)).replace(str(here), ""))
    assert ours == lean(record["body"])


def without_hint(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if not line.startswith("hint: "))


@pytest.mark.parametrize("record", RECORDED["refusals"], ids=lambda record: " ".join(record["words"]))
def test_refusal_is_dockers(record: dict[str, object], here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = record["words"]
    assert isinstance(words, list)
    code = run(["-H", f"unix://{here}/none.sock", *words])
    out, err = capfd.readouterr()
    assert (out, without_hint(err), code) == ("", record["stderr"], record["code"])
    assert os.listdir(here / "some" / "where") == os.listdir(".")
