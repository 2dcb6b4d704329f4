"""The command line against what docker's own (28.2.2) sent and said for the same words.

The files were recorded with docker's CLI before an engine that took everything: the bodies of `containers/create`
without their zero values, and the refusals with `hostvm` in place of `docker`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostvm.cli.main import run
from hostvm.cli.parse import parse
from hostvm.cli.request.create import plan_create
from hostvm.cli.run import absolute
from hostvm.cli.table import load
from tests.unit.cli.conftest import Outcome, Start
from tests.unit.cli.fake_engine import Reply

FOLDER = Path(__file__).parent
PARTS = [json.loads((FOLDER / name).read_text()) for name in ("docker_28.json", "docker_28_options.json")]
BODIES = [record for part in PARTS for record in part["bodies"]]
REFUSALS = [record for part in PARTS for record in part["refusals"]]
REQUESTS = [record for part in PARTS for record in part.get("requests", ())]
FILES = {
    "envgood": "# c\nA=1\n  B=2 3\nFROM_FILE\n\nC=\n",
    "labelgood": "x=1\ny\n",
    "envbad1": "A B=3\n",
    "envbad2": "=3\n",
    "seccomp.json": '{"defaultAction": "SCMP_ACT_ALLOW",  "syscalls": []}',
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


@pytest.mark.parametrize("record", BODIES, ids=lambda record: " ".join(record["words"]))
def test_body_is_dockers(record: dict[str, list[str]], here: Path) -> None:
    arguments = parse(load("create"), record["words"])
    body = plan_create(arguments, VARIABLES.get, absolute)
    ours = json.loads(json.dumps(lean(body)).replace(str(here), ""))
    assert ours == lean(record["body"])


def without_hint(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if not line.startswith("hint: "))


@pytest.mark.parametrize("record", REFUSALS, ids=lambda record: " ".join(record["words"]))
def test_refusal_is_dockers(record: dict[str, object], here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = record["words"]
    assert isinstance(words, list)
    code = run(["-H", f"unix://{here}/none.sock", *words])
    out, err = capfd.readouterr()
    assert (out, without_hint(err), code) == ("", record["stderr"], record["code"])
    assert os.listdir(here / "some" / "where") == os.listdir(".")


@pytest.mark.parametrize("record", REQUESTS, ids=lambda record: " ".join(record["words"]))
def test_requests_are_dockers(record: Any, start_engine: Start, hostvm: Callable[..., Outcome]) -> None:
    """`update` and `volume create`, which an engine that took everything answered alike."""
    reply = Reply({"Id": "x" * 64, "Warnings": [], "Name": "n"})
    engine = start_engine(replies={f"POST {path}": reply for path, _ in record["requests"]})
    outcome = hostvm(*record["words"])
    assert (outcome.out, outcome.err, outcome.code) == (record["stdout"], "", 0)
    sent = [[request.path.removeprefix("/v1.44"), lean(request.json)] for request in engine.requests]
    assert sent == [[path, lean(body)] for path, body in record["requests"]]
