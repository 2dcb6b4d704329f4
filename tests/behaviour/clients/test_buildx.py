"""`docker build` where buildx is installed: BuildKit's protocol, answered by our own build."""

from __future__ import annotations

import json
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
from tests.behaviour.harness.machine import Machine, Result
from tests.behaviour.images.git_server import GitServer
from tests.behaviour.images.registry_process import RegistryProcess
from tests.behaviour.test_build_sources import ASK, Guarded, serving

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
    """`docker build WORDS`; its progress is plain text, as there is no terminal."""
    folder = f"{machine.folder}/docker/cli-plugins"
    os.makedirs(folder, exist_ok=True)
    if not os.path.lexists(f"{folder}/docker-buildx"):
        os.symlink(f"{programs.PLUGINS}/docker-buildx", f"{folder}/docker-buildx")

    def build(*words: str) -> Result:
        return machine.command([programs.DOCKER_26, "build", *words])

    return build


@pytest.fixture
def context(tmp_path: Path) -> Path:
    fill_context(tmp_path, DOCKERFILE)
    (tmp_path / "link").symlink_to("folder/file")
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
    for more, cached in (([], 4), (["--cache-from", "mine:1"], 4), (["--no-cache-filter", "tools"], 3)):
        assert build(*more, *map(str, options), str(context)).err.count("CACHED") == cached


def test_a_working_dir_is_the_user_s(machine: Machine, build: Build, context: Path) -> None:
    """USER node, WORKDIR /app, RUN npm install: the classic builder makes the folder for root, BuildKit doesn't."""
    lines = ("USER 5", "WORKDIR /a/b", "USER nobody:7", "WORKDIR /c", "USER stranger", "WORKDIR /d", "USER 0")
    (context / "Dockerfile").write_text("\n".join(("FROM busybox", *lines, "RUN stat -c %u:%g /a /a/b /c /d > /seen")))
    # not from the cache, in which the same lines are the classic builder's
    machine.docker("build", "-t", "classic", str(context))
    assert machine("run", "--rm", "classic", "cat", "/seen").split() == ["0:0"] * 4
    assert build("-t", "mine", str(context)).code == 0
    assert machine("run", "--rm", "mine", "cat", "/seen").split() == ["5:5", "5:5", "65534:7", "0:0"]
    machine("rmi", "classic", "mine")


def test_without_the_cache_its_mounts_begin_empty(machine: Machine, build: Build, context: Path) -> None:
    """Each once: what the first step of a build leaves is there for its second."""
    keep = "RUN --mount=type=cache,target=/c,id=counted echo {} >> /c/file; wc -l < /c/file > /kept"
    (context / "Dockerfile").write_text("\n".join(("FROM busybox", keep.format("one"), keep.format("two"))))
    for options in ([], ["--no-cache"]):
        assert build("-t", "kept", *options, str(context)).code == 0
        assert machine("run", "--rm", "kept", "cat", "/kept") == "2"
    (context / "Dockerfile").write_text("\n".join(("FROM busybox", keep.format("three"))))
    build("-t", "kept", str(context))
    assert machine("run", "--rm", "kept", "cat", "/kept") == "3"
    machine("rmi", "kept")


def test_what_goes_wrong_is_said_as_buildkit_says_it(build: Build, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo heard >&2; exit 3\nRUN echo unheard\n")
    failed = build(str(context))
    assert failed.code == 1 and "heard" in failed.err and "2 | >>> RUN echo heard" in failed.err
    words = 'process "/bin/sh -c echo heard >&2; exit 3" did not complete successfully: exit code: 3'
    assert failed.err.rstrip().endswith(f"ERROR: failed to solve: {words}")
    (context / "Dockerfile").write_text("# syntax=other/front:1\nFROM busybox\n")
    assert "the Dockerfile's front end other/front:1 is not supported" in build(str(context)).err
    (context / "Dockerfile").write_text("FROM busybox\nFOO bar\n")
    parsed = build(str(context)).err
    assert "dockerfile parse error on line 2: unknown instruction: FOO" in parsed and "2 | >>> FOO bar" in parsed
    assert "failed to read dockerfile: open nothing" in build("-f", str(context / "nothing"), str(context)).err
    (context / "Dockerfile").write_text("FROM busybox\nCOPY none /\n")
    assert re.search(r'failed to calculate checksum of ref \S+: "/none": not found', build(str(context)).err)
    (context / "Dockerfile").write_text("FROM busybox\nRUN --network=host true\n")
    assert "network.host is not allowed" in build(str(context)).err
    assert build("--allow", "network.host", str(context)).code == 0
    refused = "granting entitlement security.insecure is not allowed by build daemon configuration"
    assert refused in build("--allow", "security.insecure", str(context)).err
    assert 'target stage "none" could not be found' in build("--target", "none", str(context)).err


def test_results_as_files_and_contexts_from_elsewhere(machine: Machine, build: Build, context: Path) -> None:
    """A hard link stays one; of a build for its files no image is left, but for one that was there before it."""
    words = "FROM busybox\nRUN cd /etc; echo made > made; ln made again\nCOPY --from=more file /more\n"
    (context / "Dockerfile").write_text(words)
    before, out, tar = machine("images", "-aq"), context.parent / "out", context.parent / "out.tar"
    more = ["--build-context", f"more={context}/folder", str(context)]
    assert build("-o", f"type=local,dest={out}", *more).code == 0
    made = out / "etc" / "made"
    assert made.read_text() == "made\n" and made.samefile(out / "etc" / "again")
    assert (out / "more").read_bytes() == (context / "folder" / "file").read_bytes()
    assert build("-o", f"type=tar,dest={tar}", *more).code == 0
    with tarfile.open(tar) as archive:
        assert "etc/made" in archive.getnames() and "more" in archive.getnames()
    assert machine("images", "-aq") == before
    nameless = build("-q", *more).out.strip()
    assert build("-o", f"type=tar,dest={tar}", *more).code == 0
    assert machine.inspect(nameless)["Id"] == nameless
    machine("rmi", nameless)
    piped = f"printf 'FROM busybox\\nRUN echo piped > /file\\n' | {programs.DOCKER_26} build -q -t piped -"
    assert machine.command(["sh", "-c", piped]).code == 0
    packed = f"tar -C {context}/folder -c . | {programs.DOCKER_26} build -q -f file -t packed -"
    assert "dockerfile parse error" in machine.command(["sh", "-c", packed]).err
    assert machine("run", "--rm", "piped", "cat", "/file") == "piped"
    beside = f"tar -C {context} -cz . | {programs.DOCKER_26} build -q -t piped {' '.join(more[:2])} -"
    assert machine.command(["sh", "-c", beside]).code == 0
    assert machine("run", "--rm", "piped", "cat", "/etc/again") == "made"


def test_stages_upon_folders_and_contexts_of_the_web(machine: Machine, build: Build, context: Path) -> None:
    """A context that no step wants isn't looked for."""
    (context / "Dockerfile").write_text(
        "FROM busybox AS shell\nFROM root\nCOPY --from=shell /bin /bin\nCOPY --from=web file /web\n"
        'CMD ["/bin/sh", "-c", "cat /from; wc -c < /web; ls /"]\n'
    )
    (context / "root").mkdir()
    (context / "root" / "from").write_text("folder\n")
    with serving(context / "folder") as url:
        contexts = {"root": f"{context}/root", "web": f"{url}/file", "unwanted": "https://host.invalid/x"}
        options = [word for name, value in contexts.items() for word in ("--build-context", f"{name}={value}")]
        built = build("-t", "upon", *options, str(context))
        assert built.code == 0, built.err
        assert build("-q", *options, str(context)).out.strip() == machine.inspect("upon")["Id"]
    assert machine("run", "--rm", "upon").split()[:3] == ["folder", "700000", "bin"]
    machine("rmi", "upon")


def test_repositories_are_contexts(machine: Machine, build: Build, tmp_path: Path) -> None:
    """Of a build, beside one, and of compose's services: the engine has them fetched, by the host of a machine."""
    with GitServer(tmp_path / "repositories") as server:
        app, inner = f"{server.url}/app.git", f"{server.url}/inner.git"
        assert build("-t", "cloned", f"{app}#v1:sub").code == 0
        assert machine("run", "--rm", "cloned").split() == ["./Dockerfile", "./part"]
        folder = tmp_path / "shop"
        folder.mkdir()
        (folder / "Dockerfile").write_text("FROM busybox\nCOPY --from=other . /o\nCMD find /o -type f")
        assert build("-t", "beside", "--build-context", f"other={inner}", str(folder)).code == 0
        assert machine("run", "--rm", "beside") == "/o/deep"
        (folder / "compose.yaml").write_text(f"services: {{app: {{image: composed, build: '{app}#v1'}}}}")
        done = machine.command([programs.COMPOSE_2, "--project-directory", str(folder), "build"])
        assert done.code == 0, done.err
        assert machine("run", "--rm", "composed").split()[0] == "./Dockerfile"
        with serving(server.bare, Guarded) as web:
            private, token = f"{web}/app.git#v1:sub", tmp_path / "token"
            token.write_text("opened")
            assert "terminal prompts disabled" in build(private).err
            assert build("--secret", f"id=GIT_AUTH_TOKEN,src={token}", private).code == 0
        missing = build(f"{app}#nope")
        assert missing.code == 1 and "couldn't find remote ref nope" in missing.err
    machine("rmi", "cloned", "beside", "composed")


def test_images_of_a_registry_that_asks_who_is_there(machine: Machine, build: Build, context: Path) -> None:
    """Neither FROM nor --from says where they come from, before variables and contexts are known."""
    place = context.parent / "registry"
    place.mkdir()
    line = subprocess.run(["htpasswd", "-Bbn", "ann", "secret"], capture_output=True, text=True, check=True).stdout
    with RegistryProcess(place, line) as registry:
        names = [f"{registry.address}/{name}:1" for name in ("base", "other", "named")]
        machine("login", "-u", "ann", "--password-stdin", registry.address, stdin=b"secret")
        for name in names:
            machine("tag", "busybox", name)
            machine("push", "-q", name)
            machine("rmi", name)
        copies = f"COPY --from={names[1]} /bin/sh /other\nCOPY --from=named /bin/sh /named\n"
        (context / "Dockerfile").write_text(f"ARG BASE\nFROM $BASE\n{copies}")
        options = ["--build-arg", f"BASE={names[0]}", "--build-context", f"named=docker-image://{names[2]}"]
        built = build(*options, "-t", "made", str(context))
        assert built.code == 0, built.err
        machine("logout", registry.address)
    machine("rmi", "made", *names)


def test_an_agent_is_asked_through_the_session(machine: Machine, build: Build, context: Path) -> None:
    """The question is for the keys; 12 is the list of them."""
    (context / "Dockerfile").write_text(
        "FROM debian:bookworm\nCOPY ask.pl /\nRUN --mount=type=ssh perl /ask.pl\n"
        'RUN --mount=type=ssh,id=other test -z "$SSH_AUTH_SOCK"\n'
    )
    (context / "ask.pl").write_text(ASK)
    place = context.parent / "agent"
    with agent_at(place):
        asked = build("--ssh", f"default={place}", str(context))
    assert asked.code == 0 and re.search(r"#\d+ [\d.]+ 12\b", asked.err), asked.err


def test_an_interrupted_build_leaves_nothing(machine: Machine, build: Build, context: Path) -> None:
    """The audit behind each test looks for processes, mounts and folders."""
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo begun; sleep 3600\n")
    argv = [programs.DOCKER_26, "build", str(context)]
    building = subprocess.Popen(argv, env=machine.environment, stderr=subprocess.PIPE, text=True)
    assert building.stderr is not None
    assert any(re.search(r"#\d+ [\d.]+ begun", line) for line in building.stderr)
    building.send_signal(signal.SIGINT)
    assert "context canceled" in building.stderr.read() and building.wait() != 0
    building.stderr.close()
    assert build("-q", "-t", "x", "--target", "none", str(context)).code == 1, "and the next one is answered"


def test_compose_builds_its_services(machine: Machine, context: Path) -> None:
    """compose v2, two services of one context at once, without a word about BuildKit."""
    (context / "Dockerfile").write_text("FROM busybox\nARG WHO\nRUN echo $WHO > /who\nCMD cat /who\n")
    services = "".join(
        f"  {name}:\n    build:\n      context: .\n      args: {{WHO: {name}}}\n" for name in ("one", "two")
    )
    (context / "compose.yaml").write_text(f"services:\n{services}")
    compose = [programs.COMPOSE_2, "--project-directory", str(context), "-p", "built"]
    ran = machine.command([*compose, "up", "--build"])
    assert ran.code == 0, ran.err
    assert re.search(r"one-1 +\| one", ran.out) and re.search(r"two-1 +\| two", ran.out)
    assert machine.command([*compose, "down", "--rmi", "local"]).code == 0


BAKED = """
target "hidden" {
  dockerfile-inline = "FROM busybox\\nRUN echo hidden > /file\\nENV WORD=said\\nONBUILD RUN echo triggered > /more\\n"
  output = ["type=local,dest=out"]
}
target "top" {
  dockerfile-inline = "FROM base\\nRUN cat /file /more; echo $WORD\\nCOPY --from=base /file /copied\\n"
  contexts = { base = "target:hidden" }
  tags = ["top"]
}
target "linked" {
  dockerfile-inline = "FROM base\\nCMD cat /copied /more\\n"
  contexts = { base = "target:top" }
  tags = ["linked:1", "linked:2"]
}
"""


def test_what_targets_have_in_common_is_made_once(machine: Machine, build: Build, context: Path) -> None:
    """Although they are built at the same time; each made its own, and a layer of its own."""
    (context / "Dockerfile").write_text(
        "FROM busybox AS base\nRUN cat /proc/sys/kernel/random/uuid > /id\nFROM base AS one\nRUN echo one > /name\n"
        "FROM base AS two\nRUN echo two > /name\nFROM base AS three\nRUN echo three > /name\n"
    )
    names = ["one", "two", "three"]
    targets = "".join(f'target "{name}" {{\n  target = "{name}"\n  tags = ["{name}"]\n}}\n' for name in names)
    (context / "docker-bake.hcl").write_text(targets)
    baking = ["sh", "-c", f'cd {context} && exec "$0" buildx bake --progress plain "$@"', programs.DOCKER_26, *names]
    assert machine.command(baking).code == 0
    assert len({machine("run", "--rm", name, "cat", "/id") for name in names}) == 1
    assert [machine("run", "--rm", name, "cat", "/name") for name in names] == names
    machine("rmi", *names)


def test_bake_builds_targets_upon_each_other(machine: Machine, build: Build, context: Path) -> None:
    """Of the one that is wanted as files there is no image, but what stands upon it."""
    (context / "docker-bake.hcl").write_text(BAKED)
    words = ["--progress", "plain", "--metadata-file", "metadata", "-f", "docker-bake.hcl", "hidden", "linked"]
    baking = ["sh", "-c", f'cd {context} && exec "$0" buildx bake "$@"', programs.DOCKER_26, *words]
    baked = machine.command(baking)
    assert baked.code == 0, baked.err
    assert re.search(r"#\d+ [\d.]+ hidden\n#\d+ [\d.]+ triggered\n#\d+ [\d.]+ said", baked.err)
    assert machine("run", "--rm", "linked:2", "sh", "-c", "cat /copied /more; echo $WORD") == "hidden\ntriggered\nsaid"
    assert (context / "out" / "file").read_text() == "hidden\n"
    metadata = json.loads((context / "metadata").read_text())
    assert metadata["linked"]["containerimage.digest"] == machine.inspect("linked:1")["Id"]
    machine("rmi", "-f", "linked:1", "linked:2")
    machine("image", "prune", "-f")


def test_buildx_asks_after_its_builder(machine: Machine, build: Build, tmp_path: Path) -> None:
    """`builder prune` is buildx's, too: what an image has stays without -a, and filters hold."""

    def docker(*words: str) -> str:
        asked = machine.command([programs.DOCKER_26, *words])
        assert asked.code == 0, asked.err
        return asked.out

    for words in (["ls"], ["inspect"]):
        docker("buildx", *words)
    docker("builder", "prune", "-af")
    run = "RUN --mount=type=cache,target=/c,id=x head -c 5000 /dev/zero | tee /c/file > /kept"
    (tmp_path / "Dockerfile").write_text(f"FROM busybox\n{run}\n")
    assert build("-t", "kept", str(tmp_path)).code == 0
    assert re.search(r"Shared:\s+5kB\nPrivate:\s+5kB\nReclaimable:\s+10kB\nTotal:\s+10kB", docker("buildx", "du"))
    assert "exec.cachemount" in docker("buildx", "du", "--verbose", "--filter", "type=exec.cachemount")
    for words in (["--filter", "type=regular"], ["--filter", "until=1h"], ["-a", "--keep-storage", "1g"]):
        assert docker("builder", "prune", "-f", *words).split() == ["Total:", "0B"]
    assert docker("builder", "prune", "-f").split()[-2:] == ["Total:", "5kB"]
    machine("rmi", "kept")
    assert docker("buildx", "prune", "-f").split()[-2:] == ["Total:", "5kB"]
    assert "Total:\t\t0B" in docker("buildx", "du")
