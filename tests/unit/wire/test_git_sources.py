"""Which sources are repositories, and which commands of git fetch them."""

from __future__ import annotations

import pytest

from guest_agent.wire.git_sources import checkout, is_git, split_git_source

DUMB = "fatal: dumb http transport does not support shallow capabilities"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("git://host/app", True),
        ("git@host:team/app.git", True),
        ("ssh://git@host/team/app", True),
        ("github.com/team/app", True),
        ("https://host/app.git", True),
        ("http://host/app.git#main:docker", True),
        ("https://host/app.git/archive.tar", False),
        ("https://host/app", False),
        ("./app.git", False),
        ("app.git", False),
    ],
)
def test_what_is_a_repository(text: str, expected: bool) -> None:
    assert is_git(text) is expected


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("github.com/team/app", ("https://github.com/team/app", "HEAD", "")),
        ("git://host/app#v1", ("git://host/app", "v1", "")),
        ("git://host/app#:docker/", ("git://host/app", "HEAD", "docker")),
        ("git://host/app#main:a/b", ("git://host/app", "main", "a/b")),
    ],
)
def test_parts_of_a_source(text: str, parts: tuple[str, str, str]) -> None:
    assert split_git_source(text) == parts


def run(complaints: dict[str, str]) -> tuple[list[str], str]:
    """The commands in short, each failing with what is complained of it, and what is told at the end."""
    steps, commands = checkout("git://host/app", "main"), []
    words = next(steps)
    try:
        while True:
            commands.append(f"{words[0]} shallow" if "fetch" in words and "--depth=1" in words else words[0])
            assert "git://host/app" not in words or words[words.index("git://host/app") - 1] == "--", "no flag of git"
            words = steps.send(complaints.get(commands[-1]))
    except StopIteration as end:
        return commands, str(end.value)


@pytest.mark.parametrize(
    ("complaints", "commands", "told"),
    [
        ({}, ["init", "fetch shallow", "checkout", "submodule"], ""),
        ({"fetch shallow": DUMB}, ["init", "fetch shallow", "fetch", "checkout", "submodule"], ""),
        ({"fetch shallow": DUMB, "fetch": "gone"}, ["init", "fetch shallow", "fetch"], "gone"),
        ({"fetch shallow": "no such ref"}, ["init", "fetch shallow"], "no such ref"),
        ({"submodule": "broken"}, ["init", "fetch shallow", "checkout", "submodule"], "broken"),
    ],
)
def test_commands(complaints: dict[str, str], commands: list[str], told: str) -> None:
    assert run(complaints) == (commands, told)
