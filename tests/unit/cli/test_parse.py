"""The parser and the table."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostvm.cli.failure import Failure
from hostvm.cli.main import handler
from hostvm.cli.parse import HelpWanted, parse
from hostvm.cli.suggest import closest, distance
from hostvm.cli.table import load, paths
from tests.unit.cli.conftest import Outcome

#: What a hot verb may not import, with what each would cost.
HEAVY = {"typer": 130, "rich": 60, "re": 5, "socket": 4, "json": 6, "enum": 4, "typing": 4, "dataclasses": 10, "os": 1}


@pytest.mark.parametrize("path", paths())
def test_every_command_is_complete(path: str) -> None:
    command = load(path)
    assert command.path == path
    assert callable(handler(command.handler))
    names = [flag.name for flag in command.flags]
    shorts = [flag.short for flag in command.flags if flag.short]
    assert len(set(names)) == len(names)
    assert len(set(shorts)) == len(shorts)
    assert (command.most != 0) == bool(command.arguments)
    assert command.help and not command.help.endswith(".")


@pytest.mark.parametrize("path", paths())
def test_examples_can_be_parsed(path: str) -> None:
    """An example that doesn't parse teaches nonsense."""
    import shlex

    for example in load(path).examples:
        line = example.split("hostvm ", 1)[1].partition(">")[0].partition("&&")[0].partition(")")[0]
        words = shlex.split(line.partition("$(")[0] + (" name" if "$(" in line else ""))
        verb = two if (two := " ".join(words[:2])) in paths() else words[0]
        parse(load(verb), words[len(verb.split()) :])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-it", "x"], {"interactive": True, "tty": True}),
        (["-itd=false", "x"], {"interactive": True, "tty": True, "detach": False}),
        (["-p80:80", "x"], {"publish": ["80:80"]}),
        (["-p=80:80", "--publish", "1:1", "--publish=2", "x"], {"publish": ["80:80", "1:1", "2"]}),
        (["-itp", "80", "x"], {"interactive": True, "tty": True, "publish": ["80"]}),
        (["--name", "-x", "x"], {"name": "-x"}),
        (["--", "-x"], {}),
    ],
)
def test_flags_as_pflag_takes_them(words: list[str], expected: dict[str, object]) -> None:
    arguments = parse(load("run"), words)
    assert {name: arguments.value(name) for name in expected} == expected
    assert arguments.positional == [words[-1]]


def test_run_leaves_the_commands_flags_alone() -> None:
    assert parse(load("run"), ["--rm", "image", "ls", "--rm", "-l", "--"]).positional[1:] == ["ls", "--rm", "-l", "--"]


def test_other_verbs_take_flags_after_arguments() -> None:
    arguments = parse(load("rm"), ["a", "-f", "b"])
    assert arguments.positional == ["a", "b"]
    assert arguments.flag("force")


@pytest.mark.parametrize("words", [["--help"], ["-a", "--help"], ["-h"]])
def test_help_is_noticed(words: list[str]) -> None:
    with pytest.raises(HelpWanted):
        parse(load("ps"), words)


def test_h_is_the_hostname_of_run() -> None:
    assert parse(load("run"), ["-h", "box", "image"]).text("hostname") == "box"


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), max_size=6))
def test_any_words_parse_or_fail_cleanly(words: list[str]) -> None:
    for path in ("run", "ps", "rm"):
        try:
            parse(load(path), words)
        except (Failure, HelpWanted):
            pass


@pytest.mark.parametrize(("word", "match"), [("rnu", "run"), ("imges", "images"), ("lgs", "logs"), ("zzzzz", "")])
def test_did_you_mean(word: str, match: str) -> None:
    assert closest(word, ["run", "rm", "images", "logs"]) == match


@given(st.text(max_size=6), st.text(max_size=6))
def test_distance_is_symmetric(left: str, right: str) -> None:
    assert distance(left, right) == distance(right, left)
    assert (distance(left, right) == 0) == (left == right)


def test_a_hot_verb_imports_nothing_heavy(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r}); before = set(sys.modules)\n"
        "from hostvm.cli.main import run\n"
        f"run(['-H', 'unix://{tmp_path}/none', 'ps'])\n"
        "import hostvm.cli.listing, hostvm.cli.render.container_view, hostvm.cli.render.view\n"
        "print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & set(HEAVY)


def test_help_teaches(hostvm: Callable[..., Outcome]) -> None:
    for words in (["--help"], ["run", "--help"], ["container", "--help"], ["container", "ls", "--help"], []):
        outcome = hostvm(*words)
        assert outcome.code == 0
        assert outcome.out.startswith("Usage: hostvm"), outcome
    assert "hostvm run -it --rm debian:bookworm bash" in hostvm("run", "--help").out
    assert "[address:][port:]port[/udp]" in " ".join(hostvm("run", "--help").out.split())


def test_rich_is_for_terminals_only(hostvm: Callable[..., Outcome]) -> None:
    assert "╭" not in hostvm("ps", "--help").out


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["rnu"], "hostvm: unknown command: hostvm rnu", "hint: did you mean `hostvm run`?"),
        (["image", "lss"], "hostvm: unknown command: hostvm image lss", "hint: did you mean `hostvm image ls`?"),
        (["run", "--rmm", "x"], "unknown flag: --rmm", "hint: did you mean --rm?"),
    ],
)
def test_a_slip_gets_a_hint(words: list[str], message: str, hint: str, hostvm: Callable[..., Outcome]) -> None:
    assert hostvm(*words).err.split("\n")[:2] == [message, hint]


def test_a_bug_is_a_traceback_and_how_to_report_it(
    hostvm: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("hostvm.cli.containers"), "ps", None)
    outcome = hostvm("ps")
    assert outcome.code == 125
    assert "Traceback" in outcome.err and "hint: please report it" in outcome.err
