"""`docker build` where buildx is installed: BuildKit's protocol, answered by our own build."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.behaviour.clients import programs
from tests.behaviour.harness.machine import Machine, Result

Build = Callable[..., Result]

DOCKERFILE = """\
# syntax=docker/dockerfile:1
ARG BASE=busybox
FROM $BASE AS tools
RUN echo told; mkdir /out; echo made > /out/made
FROM $BASE
ARG WHO
COPY --from=tools /out /out
COPY --chmod=640 . /context
RUN --mount=type=secret,id=word cat /run/secrets/word; echo $WHO > /who
LABEL tier=db
"""


@pytest.fixture
def build(machine: Machine) -> Build:
    """`docker build WORDS` with its progress in plain text."""
    folder = f"{machine.folder}/docker/cli-plugins"
    os.makedirs(folder, exist_ok=True)
    if not os.path.lexists(f"{folder}/docker-buildx"):
        os.symlink(f"{programs.PLUGINS}/docker-buildx", f"{folder}/docker-buildx")

    def build(*words: str) -> Result:
        return machine.command([programs.DOCKER_26, "build", "--progress", "plain", *words])

    return build


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"content" * 100_000)
    (tmp_path / "link").symlink_to("folder/file")
    (tmp_path / "left").write_text("out")
    (tmp_path / ".dockerignore").write_text("left\nDockerfile\n.dockerignore\n")
    return tmp_path


def test_an_image_with_all_that_it_takes(machine: Machine, build: Build, context: Path) -> None:
    word, identity = context.parent / "word", context.parent / "iid"
    word.write_text("hidden")
    options = ["--build-arg", "WHO=me", "--label", "more=1", "--secret", f"id=word,src={word}", "--iidfile", identity]
    built = build("-t", "mine:1", "-t", "mine:2", *map(str, options), str(context))
    assert built.code == 0, built.err
    assert re.search(r"#\d+ \[tools 2/2\] RUN echo told", built.err) and re.search(r"#\d+ [\d.]+ told", built.err)
    assert "naming to docker.io/library/mine:1" in built.err
    seen = machine("run", "--rm", "mine:2", "sh", "-c", "cd /context; find . -type f; ls -l folder; cat /out/made /who")
    assert seen.splitlines()[0] == "./folder/file" and "-rw-r-----" in seen and seen.endswith("made\nme")
    made = machine.inspect("mine:1")
    assert made["Config"]["Labels"].items() >= {"tier": "db", "more": "1"}.items()
    assert made["Id"] == identity.read_text()
    again = build("-q", *map(str, options[:-2]), str(context))
    assert again.out.strip() == made["Id"]
    assert build(*map(str, options), str(context)).err.count("CACHED") == 4


def test_what_goes_wrong_is_said_as_buildkit_says_it(build: Build, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo heard >&2; exit 3\n")
    failed = build(str(context))
    assert failed.code == 1 and "heard" in failed.err
    words = 'process "/bin/sh -c echo heard >&2; exit 3" did not complete successfully: exit code: 3'
    assert failed.err.rstrip().endswith(f"ERROR: failed to solve: {words}")
    (context / "Dockerfile").write_text("# syntax=other/front:1\nFROM busybox\n")
    assert "the Dockerfile's front end other/front:1 is not supported" in build(str(context)).err
    (context / "Dockerfile").write_text("FROM busybox\nFOO bar\n")
    assert "unknown instruction: FOO" in build(str(context)).err
    assert "failed to read dockerfile: open nothing" in build("-f", str(context / "nothing"), str(context)).err


def test_buildx_asks_after_its_builder(machine: Machine, build: Build) -> None:
    for words in (["ls"], ["inspect"], ["du"], ["prune", "-f"]):
        asked = machine.command([programs.DOCKER_26, "buildx", *words])
        assert asked.code == 0, asked.err
