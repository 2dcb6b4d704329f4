"""`DOCKER_BUILDKIT=1 docker build` of Debian's docker: BuildKit over /session and /build, without buildx."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.behaviour.clients import programs
from tests.behaviour.clients.contexts import agent_at, fill_context
from tests.behaviour.harness.machine import DOCKER, Machine, Result
from tests.behaviour.test_build_sources import ASK, serving

Build = Callable[..., Result]

#: compose v1 calls the docker that it finds.
WITH_BUILDKIT = {"DOCKER_BUILDKIT": "1", "PATH": f"{os.path.dirname(DOCKER)}:{os.environ['PATH']}"}

DOCKERFILE = """\
# syntax=docker/dockerfile:1
ARG BASE=busybox
FROM $BASE AS tools
RUN echo told; mkdir /out; echo made > /out/made
FROM $BASE
ARG WHO
COPY --from=tools /out /out
COPY . /context
RUN --mount=type=secret,id=word cat /run/secrets/word; echo; echo $WHO > /who; grep one /etc/hosts; ulimit -n
LABEL tier=db
"""


@pytest.fixture
def build(machine: Machine) -> Build:
    """`docker build WORDS`; its progress is plain text, as there is no terminal."""

    def build(*words: str) -> Result:
        return machine.command([DOCKER, "build", *words], WITH_BUILDKIT)

    return build


@pytest.fixture
def context(tmp_path: Path) -> Path:
    fill_context(tmp_path, DOCKERFILE)
    return tmp_path


def test_an_image_with_all_that_it_takes(machine: Machine, build: Build, context: Path) -> None:
    word, identity = context.parent / "word", context.parent / "iid"
    word.write_text("hidden")
    options = ["--build-arg", "WHO=me", "--label", "more=1", "--secret", f"id=word,src={word}"]
    options += ["--add-host", "one:10.1.2.3", "--ulimit", "nofile=123:456"]
    built = build("-t", "mine:1", "-t", "mine:2", "--iidfile", str(identity), *options, str(context))
    assert built.code == 0, built.err
    assert re.search(r"#\d+ \[tools 2/2\] RUN echo told", built.err) and re.search(r"#\d+ [\d.]+ told", built.err)
    assert "naming to docker.io/library/mine:1" in built.err
    assert re.search(r"#\d+ [\d.]+ 10.1.2.3\s+one\n#\d+ [\d.]+ 123\n", built.err)
    seen = machine("run", "--rm", "mine:2", "sh", "-c", "cd /context; find . -type f; cat /out/made /who")
    assert seen == "./folder/file\nmade\nme"
    made = machine.inspect("mine:1")
    assert made["Config"]["Labels"].items() >= {"tier": "db", "more": "1"}.items()
    assert made["Id"] == identity.read_text()
    again = build("-q", *options, str(context))
    assert (again.code, again.out.strip(), again.err) == (0, made["Id"], "")
    assert build("--progress", "plain", *options, str(context)).err.count("CACHED") == 4
    assert "CACHED" not in build("--no-cache", *options, str(context)).err
    for name in {machine.inspect("mine:1")["Id"], *machine("images", "-aqf", "label=more=1", "--no-trunc").split()}:
        machine("rmi", "-f", name)


def test_what_goes_wrong_is_said_as_buildkit_says_it(build: Build, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo heard >&2; exit 3\nRUN echo unheard\n")
    words = 'process "/bin/sh -c echo heard >&2; exit 3" did not complete successfully: exit code: 3'
    for options in ([], ["-q"]):
        failed = build(*options, str(context))
        assert failed.code == 1 and " > [2/3] RUN echo heard >&2; exit 3:\n" in failed.err, failed.err
        assert re.search(r"#\d+ [\d.]+ heard\n", failed.err) and failed.err.rstrip().endswith(words)
    (context / "Dockerfile").write_text("FROM busybox\nFOO bar\n")
    unknown = "dockerfile parse error on line 2: unknown instruction: FOO (did you mean FROM?)"
    assert build(str(context)).err.rstrip().endswith(unknown)
    assert "failed to read dockerfile: open nothing" in build("-f", str(context / "nothing"), str(context)).err
    assert 'exporter "none" could not be found' in build("-o", "type=none", str(context)).err
    assert 'network mode "own" not supported by buildkit' in build("--network", "own", str(context)).err
    assert "invalid reference format" in build("-t", "A", str(context)).err


def test_contexts_from_elsewhere_and_results_as_files(machine: Machine, build: Build, context: Path) -> None:
    """A Dockerfile, or a tar, on standard input; the agent of the caller. Nothing of a build for files is left."""
    (context / "Dockerfile").write_text("FROM busybox\nCOPY folder /\nRUN echo made > /made\n")
    before, out, tar = machine("images", "-aq"), context.parent / "out", context.parent / "out.tar"
    assert build("-o", str(out), str(context)).code == 0
    assert (out / "made").read_text() == "made\n"
    assert (out / "file").read_bytes() == (context / "folder" / "file").read_bytes()
    assert build("-o", f"type=tar,dest={tar}", str(context)).code == 0
    with tarfile.open(tar) as archive:
        assert "made" in archive.getnames()
    assert machine("images", "-aq") == before

    def piped(line: str) -> Result:
        return machine.command(["sh", "-c", line.replace("docker", DOCKER)], WITH_BUILDKIT)

    dockerfile = (
        f"printf 'FROM busybox\\nCOPY folder/file /from-%s\\n' elsewhere | docker build -q -t piped -f - {context}"
    )
    assert piped(dockerfile).code == 0
    assert machine("run", "--rm", "piped", "sh", "-c", "wc -c < /from-elsewhere") == "700000"
    assert piped("printf 'FROM busybox\\nRUN echo alone > /file\\n' | docker build -q -t piped -").code == 0
    assert machine("run", "--rm", "piped", "cat", "/file") == "alone"
    packed = piped(f"tar -C {context} -c . | docker build --progress plain -t packed -")
    assert packed.code == 0, packed.err
    assert machine("run", "--rm", "packed", "cat", "/made") == "made"
    assert "dockerfile parse error" in piped(f"tar -C {context}/folder -c . | docker build -f file -").err
    machine("rmi", "piped", "packed")


def test_a_context_from_the_web_with_secrets_and_an_agent(machine: Machine, build: Build, context: Path) -> None:
    """The session is asked by the step that needs it, whatever the Dockerfile came with; a user of its own can, too."""
    agent, word, name = context.parent / "agent", context.parent / "word", "word"
    word.write_text("hidden")
    (context / "Dockerfile").write_text(
        "FROM debian:bookworm\nARG WHICH\nRUN --mount=type=secret,id=$WHICH,target=/word cat /word; echo\n"
        "COPY ask.pl /\nRUN --mount=type=ssh,uid=65534 setpriv --reuid=65534 perl /ask.pl\n"
        'RUN --mount=type=ssh,id=other test -z "$SSH_AUTH_SOCK"\n'
    )
    (context / "ask.pl").write_text(ASK)
    with tarfile.open(context / "context.tar.gz", "w:gz") as archive:
        for file in ("Dockerfile", "ask.pl"):
            archive.add(context / file, file)
    options = ["--ssh", f"default={agent}", "--secret", f"id={name},src={word}", "--build-arg", f"WHICH={name}"]
    with serving(context) as url, agent_at(agent):
        built = build(*options, f"{url}/context.tar.gz")
        assert re.search(r"#\d+ [\d.]+ hidden\n", built.err) and re.search(r"#\d+ [\d.]+ 12\b", built.err), built.err
        assert built.code == 0
        again = build("-q", "--no-cache", *options, str(context))
        assert again.code == 0, again.err
    machine("image", "prune", "-f")


def test_a_build_for_files_and_a_nameless_one_at_once(machine: Machine, build: Build, context: Path) -> None:
    """Of the same Dockerfile: the image that the first had made went with it, and was the other's as well.

    The first one's files wait in a pipe meanwhile; a prune doesn't take them away.
    """
    (context / "Dockerfile").write_text("FROM busybox\nRUN head -c 4000000 /dev/zero > /zeros\n")
    before = machine("images", "-aq")
    argv, environment = [DOCKER, "build", "-q", "-o", "-", str(context)], {**machine.environment, **WITH_BUILDKIT}
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE) as sending:
        assert sending.stdout is not None
        first = sending.stdout.read(1)
        assert machine("images", "-aq") == before
        nameless = build("-q", str(context)).out.strip()
        machine("rmi", nameless)
        machine("builder", "prune", "-af")
        nameless = build("-q", str(context)).out.strip()
        with tarfile.open(fileobj=io.BytesIO(first + sending.stdout.read())) as archive:
            assert archive.getmember("zeros").size == 4_000_000
    assert sending.returncode == 0
    assert machine("run", "--rm", nameless, "sh", "-c", "wc -c < /zeros") == "4000000"
    machine("rmi", nameless)


def test_an_interrupted_build_leaves_nothing(machine: Machine, build: Build, context: Path) -> None:
    """The client asks for the end by /build/cancel. The audit behind each test looks for what is left."""
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo begun; sleep 3600\n")
    argv, environment = [DOCKER, "build", str(context)], {**machine.environment, **WITH_BUILDKIT}
    building = subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True)
    assert building.stderr is not None
    assert any(re.search(r"#\d+ [\d.]+ begun", line) for line in building.stderr)
    building.send_signal(signal.SIGINT)
    assert "context canceled" in building.stderr.read() and building.wait() != 0
    building.stderr.close()
    assert build("-q", "--target", "none", str(context)).code == 1, "and the next one is answered"


def test_compose_builds_by_the_command_line(machine: Machine, context: Path) -> None:
    """compose v1 leaves a build to `docker build` if it is told to."""
    (context / "Dockerfile").write_text("FROM busybox\nARG WHO\nRUN echo $WHO > /who\nCMD cat /who\n")
    services = "".join(f"  {name}: {{build: {{context: ., args: {{WHO: {name}}}}}}}\n" for name in ("one", "two"))
    (context / "docker-compose.yaml").write_text(f'version: "3.8"\nservices:\n{services}')
    compose = [programs.COMPOSE_1, "--project-directory", str(context), "-p", "built"]
    compose += ["-f", f"{context}/docker-compose.yaml"]
    ran = machine.command([*compose, "up", "--build"], {**WITH_BUILDKIT, "COMPOSE_DOCKER_CLI_BUILD": "1"})
    assert ran.code == 0, ran.err
    out = re.sub(r"\x1b\[\d*m", "", ran.out)
    assert re.search(r"one_1 +\| one", out) and re.search(r"two_1 +\| two", out)
    assert "naming to docker.io/library/built_one" in ran.err + ran.out
    assert machine.command([*compose, "down", "--rmi", "local"]).code == 0
