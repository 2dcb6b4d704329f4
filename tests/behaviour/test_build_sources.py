"""Where a build's files come from: repositories, the web, archives, further contexts, images; and what stays secret."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import tarfile
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import docker
import docker.errors
import pytest

from tests.behaviour.conftest import Project
from tests.behaviour.harness.machine import HOSTVM, Machine
from tests.behaviour.harness.waiting import wait_for
from tests.behaviour.harness.worker import Worker
from tests.behaviour.images.git_server import GitServer
from tests.behaviour.images.registry_process import RegistryProcess
from tests.behaviour.images.unruly_registry import UnrulyRegistry


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class Guarded(_Quiet):
    def do_GET(self) -> None:
        if self.headers["Authorization"] == f"Basic {b64encode(b'x-access-token:opened').decode()}":
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()


@contextmanager
def serving(folder: Path, handler: type[_Quiet] = _Quiet) -> Iterator[str]:
    """The folder by HTTP; its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=os.fspath(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def repositories(worker: Worker, tmp_path: Path) -> Iterator[GitServer]:
    with GitServer(tmp_path / "repositories") as server:
        yield server


def run_of(machine: Machine, image: str, *words: str) -> str:
    return machine("run", "--rm", image, *words)


def build_remote(machine: Machine, remote: str, tag: str) -> None:
    """By docker-py, which leaves it to the engine to fetch the context."""
    client = docker.DockerClient(f"unix://{machine.docker_socket}")
    try:
        client.images.build(path=remote, tag=tag)
    finally:
        client.close()


def test_a_repository_is_a_context(machine: Machine, repositories: GitServer) -> None:
    """Its submodules belong to it and its history doesn't; a folder of it alone; a server that has files only."""
    whole = "./.gitmodules ./Dockerfile ./inner/.git ./inner/deep ./new ./old ./sub/Dockerfile ./sub/part".split()
    with serving(repositories.bare) as web:
        sources = {
            f"{repositories.url}/app.git": whole,
            f"{repositories.url}/app.git#v1": ["./Dockerfile", "./old", "./sub/Dockerfile", "./sub/part"],
            f"{web}/app.git#main:sub": ["./Dockerfile", "./part"],
        }
        for source, files in sources.items():
            machine("build", "-q", "-t", "cloned", source)
            assert run_of(machine, "cloned").split() == files, source
            image = machine("images", "-q", "--no-trunc", "cloned")
            build_remote(machine, source, "remote")
            assert machine("images", "-q", "--no-trunc", "remote") == image, "the same files, the same image"
    missing = machine.fails(1, "build", f"{repositories.url}/app.git#nope")
    assert "unable to 'git clone': fatal: couldn't find remote ref nope" in missing
    assert "outside isn't a folder" in machine.fails(1, "build", f"{repositories.url}/app.git#main:outside")
    with pytest.raises(docker.errors.APIError, match="couldn't find remote ref nope"):
        build_remote(machine, f"{repositories.url}/app.git#nope", "remote")
    machine("rmi", "cloned", "remote")


def test_add_takes_a_repository(machine: Machine, repositories: GitServer, project: Project) -> None:
    url = f"{repositories.url}/app.git"
    text = f"FROM busybox\nADD --exclude=sub {url}#v1 /plain\nADD --keep-git-dir=true {url}#main:inner /inner/\n"
    text += "CMD cd / && find plain inner -type f | sort"
    machine("build", "-q", "-t", "added", project(text))
    assert run_of(machine, "added").split() == ["inner/.git", "inner/deep", "plain/Dockerfile", "plain/old"]
    failing = f"FROM busybox\nADD --checksum=sha256:{'0' * 64} {url} /x"
    assert "checksum can't be specified for non-HTTP(S) sources" in machine.fails(1, "build", project(failing))
    machine("rmi", "added")


def test_a_private_repository(machine: Machine, repositories: GitServer, project: Project, tmp_path: Path) -> None:
    """A secret with BuildKit's name opens it; it is in no layer, and isn't asked for where it isn't needed."""
    with serving(repositories.bare, Guarded) as web:
        folder = project(f"FROM busybox\nADD --keep-git-dir=true {web}/app.git#v1 /c")
        refused = machine.fails(1, "build", folder)
        assert "--secret id=GIT_AUTH_TOKEN,src=FILE" in refused
        token = tmp_path / "token"
        token.write_text("opened\n")
        machine("build", "-q", "-t", "private", "--secret", f"id=GIT_AUTH_TOKEN,src={token}", folder)
    assert run_of(machine, "private", "cat", "/c/old") == "1"
    assert run_of(machine, "private", "sh", "-c", "grep -ri -e opened -e authorization /c || echo nowhere") == "nowhere"
    machine("rmi", "private")


def test_files_and_contexts_from_the_web(machine: Machine, project: Project, tmp_path: Path) -> None:
    served = tmp_path / "served"
    (served / "inner").mkdir(parents=True)
    (served / "inner/Dockerfile").write_text("FROM busybox\nCOPY . /c\nCMD ls /c")
    (served / "inner/a").write_text("a")
    (served / "Other").write_text("FROM busybox\nCMD echo other")
    with tarfile.open(served / "context.tar.gz", "w:gz") as archive:
        archive.add(served / "inner", ".")
    os.utime(served / "inner/a", (1_000_000_000, 1_000_000_000))
    good = hashlib.sha256(b"a").hexdigest()
    with serving(served) as url:
        text = (
            f"FROM busybox\nARG SUM\nADD --checksum=sha256:$SUM {url}/inner/a /got/\nADD {url}/context.tar.gz /packed"
        )
        folder = project(f"{text}\nCMD stat -c '%n %a %u %Y' /got/a && stat -c %F /packed")
        machine("build", "-q", "-t", "web", "--build-arg", f"SUM={good}", folder)
        assert run_of(machine, "web").split("\n") == ["/got/a 600 0 1000000000", "regular file"]
        wrong = machine.fails(1, "build", "--build-arg", f"SUM={'0' * 64}", folder)
        assert f"ADD failed: digest mismatch sha256:{good}: sha256:{'0' * 64}" in wrong
        assert "HTTP Error 404" in machine.fails(1, "build", project(f"FROM busybox\nADD {url}/none /x"))
        copied = machine.fails(1, "build", project(f"FROM busybox\nCOPY {url}/inner/a /x"))
        assert "COPY failed: source can't be a URL for COPY" in copied
        local = machine.fails(1, "build", project(f"FROM busybox\nADD --checksum=sha256:{good} Dockerfile /x"))
        assert "checksum can't be specified for non-HTTP(S) sources" in local
        for source, seen in {"context.tar.gz": "Dockerfile\na", "Other": "other"}.items():
            machine("build", "-q", "-t", "web", f"{url}/{source}")
            assert run_of(machine, "web") == seen
            machine.docker("build", "-q", "-t", "web", f"{url}/{source}")
            assert run_of(machine, "web") == seen
            build_remote(machine, f"{url}/{source}", "web")
            assert run_of(machine, "web") == seen
        (served / "Upon").write_text(BESIDE)
        machine("build", "-q", "-t", "web", *beside(tmp_path), f"{url}/Upon")
        assert run_of(machine, "web") == "extra\ntold"
    machine("rmi", "web")


BESIDE = """
FROM busybox
COPY --from=extra a /
RUN --mount=type=secret,id=word cp /run/secrets/word /told
CMD cat /a /told
"""


def beside(folder: Path) -> list[str]:
    """A further context and a secret."""
    (folder / "extra").mkdir(exist_ok=True)
    (folder / "extra/a").write_text("extra\n")
    (folder / "word").write_text("told")
    return ["--build-context", f"extra={folder}/extra", "--secret", f"id=word,src={folder}/word"]


def test_standard_input_with_more_beside_it(machine: Machine, project: Project, tmp_path: Path) -> None:
    folder = project(f"{BESIDE}COPY . /\nCMD cat /a /told /c", {"c": "context"})
    flags = " ".join(beside(tmp_path))
    for sending in (f"tar -C {folder} -c .", f"tar -C {folder} -cz ."):
        machine.command(["sh", "-c", f"{sending} | {HOSTVM} build -q -t piped {flags} -"])
        assert run_of(machine, "piped") == "extra\ntoldcontext"
        machine("rmi", "piped")
    (tmp_path / "text").write_text(BESIDE)
    machine.command(["sh", "-c", f"{HOSTVM} build -q -t piped {flags} - < {tmp_path}/text"])
    assert run_of(machine, "piped") == "extra\ntold"
    machine("rmi", "piped")


def test_a_server_that_says_nothing(machine: Machine, project: Project) -> None:
    """Ctrl-c while an ADD waits for the web: neither a thread nor a descriptor waits on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        folder = project(f"FROM busybox\nADD http://127.0.0.1:{listening.getsockname()[1]}/slow /slow")
        building = machine.start("build", "-t", "slow", folder)
        line, _ = listening.accept()
        with line:
            assert line.recv(4096).startswith(b"GET /slow ")
            building.send_signal(signal.SIGINT)
            building.communicate()
            line.settimeout(60)
            assert line.recv(4096) == b"", "the engine has hung up"
    assert building.returncode == 130
    assert machine("images", "-q", "slow") == ""


PLACES = """
FROM busybox AS base
ARG SIDE=extra
COPY --parents d/e/f/*.txt d/./e/two.md /p/
COPY --exclude=*.txt --exclude=e/f d /x/
COPY --link --chmod=0600 --chown=1:2 d/three.txt /l/deep/
COPY --from=extra . /named/
COPY --from=tool /bin/busybox /tool
RUN --mount=type=bind,from=extra,target=/side cp /side/n /bound
CMD find /p /x /l /named /tool /bound -type f | sort | xargs stat -c '%n %a %u:%g'
"""


def test_places_and_further_contexts(machine: Machine, project: Project) -> None:
    files = {"d/e/f/one.txt": "1", "d/e/two.md": "2", "d/three.txt": "3", "side/n": "n", "side/left": "l"}
    folder = project(PLACES, {**files, "side/.dockerignore": "left"})
    contexts = ("--build-context", f"extra={folder}/side", "--build-context", "tool=docker-image://busybox")
    machine("build", "-q", "-t", "places", *contexts, folder)
    assert run_of(machine, "places").split("\n") == [
        "/bound 644 0:0",
        "/l/deep/three.txt 600 1:2",
        "/named/.dockerignore 644 0:0",
        "/named/n 644 0:0",
        "/p/d/e/f/one.txt 644 0:0",
        "/p/e/two.md 644 0:0",
        "/tool 755 0:0",
        "/x/e/two.md 644 0:0",
    ]
    assert "invalid from flag value extra: Get" in machine.fails(1, "build", folder), "then it is an image's name"
    machine("rmi", "places")


WINDOWS = r"""# escape=`
# a comment
FROM busybox
ENV A=`$HOME B="a b" `
    C=c\d
RUN echo one `
# between
  two > /text && echo "$A|$B|$C" >> /text
COPY <<EOF /here
line
EOF
WORKDIR /w\x
CMD cat /text /here && pwd"""


def test_a_dockerfile_of_another_system(machine: Machine, project: Project) -> None:
    """Windows' line ends, a byte order mark, another escape character, and a label in Latin-1."""
    folder, label = Path(project("")), b"\r\nLABEL place=caf\xe9"
    (folder / "Dockerfile").write_bytes(b"\xef\xbb\xbf" + WINDOWS.replace("\n", "\r\n").encode() + label)
    machine("build", "-q", "-t", "windows", str(folder))
    machine.docker("build", "-q", "-t", "docker", str(folder))
    assert machine("images", "-q", "docker") == machine("images", "-q", "windows")
    assert machine("image", "inspect", "-f", "{{.Config.Labels.place}}", "windows") == "caf\ufffd"
    assert run_of(machine, "windows").split("\n") == ["one two", "$HOME|a b|c\\d", "line", "/w\\x"]
    machine("rmi", "windows", "docker")


class _Agent:
    """An ssh agent without keys: it answers REQUEST_IDENTITIES (11) by IDENTITIES_ANSWER (12)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(os.fspath(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        line, _ = self._listening.accept()
        with line:
            if line.recv(5) == b"\0\0\0\1\x0b":
                line.sendall(b"\0\0\0\5\x0c\0\0\0\0")

    def close(self) -> None:
        self._listening.close()


ASKING = """
FROM debian:bookworm
COPY ask.pl /
RUN --mount=type=ssh perl /ask.pl > /answer
RUN --mount=type=ssh,id=other test -z "$SSH_AUTH_SOCK"
RUN --mount=type=ssh --mount=type=ssh,id=again \\
    cd /run/buildkit && test "$SSH_AUTH_SOCK" -ef ssh_agent.0 -a -S ssh_agent.1
"""
ASK = """
use IO::Socket::UNIX;
my $agent = IO::Socket::UNIX->new($ENV{SSH_AUTH_SOCK}) or die "$!";
$agent->syswrite("\\0\\0\\0\\1\\x0b");
read($agent, my $answer, 5);
print ord(substr($answer, 4));
"""


def test_an_agent_is_for_the_step_alone(machine: Machine, project: Project, tmp_path: Path) -> None:
    """A key's owner signs for the build, and neither layers nor history know of it."""
    folder = project(ASKING, {"ask.pl": ASK})
    agent = _Agent(tmp_path / "agent")
    try:
        given = ("--ssh", f"default={agent.path}", "--ssh", f"again={agent.path}")
        machine("build", "-q", "-t", "asked", *given, folder)
        assert run_of(machine, "asked", "sh", "-c", "cat /answer; test ! -e /run/buildkit") == "12"
        told = machine("history", "--no-trunc", "asked") + machine("image", "inspect", "asked")
        assert "SSH_AUTH" not in told.replace('test -z "$SSH_AUTH_SOCK"', "").replace("$SSH_AUTH_SOCK", "")
        machine("rmi", "asked")
    finally:
        agent.close()


def test_a_pulled_image_is_base_and_cache(machine: Machine, worker: Worker, project: Project, tmp_path: Path) -> None:
    """Its triggers run, and of --cache-from its steps are taken, on an engine that has never made them."""
    place = tmp_path / "registry"
    place.mkdir()
    steps = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /id\nCMD cat /id"
    with RegistryProcess(place) as registry:
        cached, base = f"{registry.address}/cached:1", f"{registry.address}/base:1"
        machine("build", "-q", "-t", cached, project(steps))
        machine("build", "-q", "-t", base, project("FROM busybox\nONBUILD COPY a /a\nONBUILD RUN cp /a /b"))
        made = run_of(machine, cached)
        for name in (cached, base):
            machine("push", "-q", name)
            machine("rmi", name)
        machine("builder", "prune", "-f")
        out = machine("build", "-t", "triggered", project(f"FROM {base}\nCMD cat /b", {"a": "A"}))
        assert "# Executing 2 build triggers" in out and run_of(machine, "triggered") == "A"
        machine("pull", "-q", cached)
        out = machine("build", "-t", "again", "--cache-from", cached, project(steps))
        assert " ---> Using cache" in out and run_of(machine, "again") == made
        machine("rmi", "triggered", "again", cached, base)


def test_pull_asks_the_registry_again(machine: Machine, worker: Worker, project: Project, tmp_path: Path) -> None:
    """A base that is here is taken as it is, although its name means another one by now."""
    place = tmp_path / "registry"
    place.mkdir()
    with RegistryProcess(place) as registry:
        base = f"{registry.address}/base:1"
        for text in ("new", "old"):
            machine("build", "-q", "-t", base, project(f"FROM busybox\nRUN echo {text} > /age\nCMD cat /age"))
            if text == "new":
                machine("push", "-q", base)
        folder = project(f"FROM {base}\nLABEL a=b")
        machine("build", "-q", "-t", "upon", folder)
        assert run_of(machine, "upon") == "old"
        machine("build", "-q", "-t", "upon", "--pull", folder)
        assert run_of(machine, "upon") == "new"
        machine("rmi", "upon", base)


AROUND = """
FROM busybox
RUN grep -c '10.9.8.7.*there.test' /etc/hosts > /seen && df -k /dev/shm | tail -1 | awk '{print $2}' >> /seen
RUN ulimit -n >> /seen
RUN --network=none ls /sys/class/net >> /seen
RUN --network=host ls /sys/class/net | grep -cv '^lo$' >> /seen
CMD cat /seen && grep -c there.test /etc/hosts
"""


def test_what_is_around_a_step(machine: Machine, project: Project) -> None:
    """Hosts, limits and networks are the steps' alone, and none of them is in a layer."""
    limits = ("--shm-size", "16m", "--ulimit", "nofile=321:321", "--add-host", "there.test:10.9.8.7")
    machine("build", "-q", "-t", "around", *limits, project(AROUND))
    hits, shared, files, networks, *others = machine.attempt("run", "--rm", "around").out.split()
    assert (hits, shared, files, networks) == ("1", "16384", "321", "lo")
    assert int(others[0]) >= 1 and others[1:] == ["0"], "the host's own interfaces; and no name in the image"
    donor = machine("run", "-d", "--add-host", "known:127.0.0.7", "busybox", "sleep", "3600")
    machine.docker("build", "--network", f"container:{donor}", project("FROM busybox\nRUN ping -c1 known"))
    machine("rm", "-f", donor)
    unknown = machine.fails(1, "build", project("FROM busybox\nRUN --network=nothing true"))
    assert 'invalid network mode "nothing"' in unknown
    machine("rmi", "around")


def test_platforms(machine: Machine, project: Project) -> None:
    """What is built for another one needs nothing to run there; its arguments are known, and so is the builder's."""
    text = "ARG BUILDPLATFORM\nFROM --platform=$BUILDPLATFORM busybox AS tool\nARG TARGETARCH\n"
    text += "RUN echo $TARGETARCH > /for\n"
    text += 'FROM scratch\nARG TARGETPLATFORM TARGETVARIANT\nLABEL for="$TARGETPLATFORM"\nCOPY --from=tool /for /'
    folder = project(text)
    for platform, architecture in (("linux/arm64", "arm64"), ("linux/arm/v6", "arm")):
        machine("build", "-q", "-t", "there", "--platform", platform, folder)
        machine.docker("build", "-q", "-t", "by-docker", "--platform", platform, folder)
        assert machine("images", "-q", "there") == machine("images", "-q", "by-docker")
        told = machine("image", "inspect", "-f", "{{.Os}}/{{.Architecture}} {{.Config.Labels.for}}", "there")
        assert told == f"linux/{architecture} {platform}"
    unknown = machine.fails(1, "build", "--platform", "nothing", folder)
    assert '"nothing": unknown operating system or architecture' in unknown
    machine("rmi", "there", "by-docker")


@pytest.mark.parametrize("wrong", ["gone", "always-cut", "lie", "stall"])
def test_a_registry_fails_in_the_middle_of_a_build(
    machine: Machine, worker: Worker, project: Project, wrong: str
) -> None:
    """One line says what happened, nothing is tagged or left, and with a registry that is well again it is built."""
    with UnrulyRegistry() as registry:
        base = f"{registry.address}/team/base:1"
        folder = project(f"FROM busybox AS first\nRUN echo made > /made\nFROM {base}\nCOPY --from=first /made /made")
        registry.behave = {wrong, *(["no-range"] if wrong == "always-cut" else [])}
        building = machine.start("build", "-t", "late", folder)
        if wrong == "stall":
            wait_for(registry.stalled.is_set, "the pull of the base")
            building.send_signal(signal.SIGINT)
        _, complaint = building.communicate()
        assert building.returncode == (130 if wrong == "stall" else 1)
        assert b"Traceback" not in complaint
        expected = {"gone": "unexpected EOF", "always-cut": "failed to download sha256:", "lie": "verification failed"}
        assert expected.get(wrong, "") in complaint.decode(), complaint
        assert machine("images", "-q", "late") == "" and machine("ps", "-aq") == ""
        registry.behave.clear()
        registry.go_on.set()
        wait_for(lambda: machine.names_inside(f"{machine.data}/tmp") == [], "the end of the unfinished pull")
        machine("build", "-q", "-t", "late", folder)
        machine("rmi", "late", base)


def test_a_failing_step_is_shown_with_its_output(machine: Machine, project: Project) -> None:
    folder = project("FROM busybox\n\nRUN echo to-out; \\\n  echo to-err >&2; \\\n  exit 3\n")
    result = machine.attempt("build", folder)
    assert result.code == 3 and "to-out\nto-err\n" in result.out
    first, hint = result.err.splitlines()
    assert re.fullmatch(r"The command '/bin/sh -c echo to-out; .*exit 3' returned a non-zero code: 3", first)
    assert hint.startswith("hint: line 3: RUN echo to-out;")
