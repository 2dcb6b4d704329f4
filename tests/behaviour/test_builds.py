"""Builds as users and other people's clients ask for them; what a RUN saw is what is asserted."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import tarfile
from pathlib import Path

import pytest

from tests.behaviour.conftest import MachineMaker, Project
from tests.behaviour.harness.machine import DOCKER, HOSTVM, Machine
from tests.behaviour.harness.waiting import wait_for
from tests.behaviour.test_crashes import find_failpoints

EVERYTHING = """
# syntax=docker/dockerfile:1
ARG BASE=busybox
FROM $BASE AS tools
RUN mkdir -p /tools/bin && echo '#!/bin/sh' > /tools/bin/hello && echo 'echo "hello, $1"' >> /tools/bin/hello \\
    && chown 5:6 /tools/bin/hello && chmod 4755 /tools/bin/hello
FROM $BASE AS unused
RUN false
FROM $BASE
ARG VERSION=1 UNSET
ENV NAME=app PATH="$PATH:/opt/bin"
LABEL version="$VERSION" \\
      description="a b"
WORKDIR /srv/app
WORKDIR data
COPY --from=tools /tools/ /opt/
COPY --chown=7:8 --chmod=640 a.txt sub/*.md ./
COPY <<EOF <<"RAW" ./
version=$VERSION
EOF
raw=$VERSION
RAW
ADD archive.tar.gz /unpacked/
RUN --mount=type=bind,source=sub,target=/context --mount=type=tmpfs,target=/scratch \\
    --mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN \\
    ls /context > /seen && grep -c ' /scratch tmpfs' /proc/mounts >> /seen && wc -c < /run/secrets/token >> /seen \\
    && echo ${#TOKEN} >> /seen && id -u >> /seen
RUN <<EOF
echo one > /lines
echo "two $VERSION" >> /lines
EOF
USER 7:8
RUN id > /tmp/user
VOLUME /vol
EXPOSE 80 443/tcp
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s CMD true
SHELL ["/bin/sh", "-ec"]
ENTRYPOINT ["hello"]
CMD ["world"]
"""


def test_the_language(machine: Machine, project: Project, tmp_path: Path) -> None:
    folder = project(EVERYTHING, {"a.txt": "A", "sub/b.md": "B", "sub/c.txt": "C", "inner": "inner"})
    with tarfile.open(f"{folder}/archive.tar.gz", "w:gz") as archive:
        archive.add(f"{folder}/inner", "deep/inner")
    (tmp_path / "token").write_text("s3cr3t")
    tags = ("-t", "app:1", "-t", "other", "--build-arg", "VERSION=2")
    out = machine("build", *tags, "--secret", f"id=token,src={tmp_path}/token", folder)
    assert "Successfully tagged app:1" in out and "Successfully tagged other:latest" in out
    assert machine("run", "--rm", "app:1") == "hello, world"
    shell = ("run", "--rm", "-u", "0", "--entrypoint", "sh", "app:1", "-c")
    assert machine(*shell, "cat /seen").split() == ["b.md", "c.txt", "1", "6", "6", "0"]
    assert machine(*shell, "cat /lines EOF RAW").split("\n") == ["one", "two 2", "version=2", "raw=$VERSION"]
    assert machine(*shell, "stat -c '%u:%g %a' a.txt b.md /opt/bin/hello /unpacked/deep/inner").split("\n") == [
        "7:8 640",
        "7:8 640",
        "5:6 4755",
        "0:0 644",
    ]
    assert "uid=7 gid=8" in machine(*shell, "cat /tmp/user")
    assert machine(*shell, "ls -d /scratch /context /run/secrets/token 2>/dev/null | wc -l") == "0", (
        "mounts leave no trace"
    )
    config = json.loads(machine("image", "inspect", "-f", "{{json .Config}}", "app:1"))
    assert config["Labels"].items() >= {"version": "2", "description": "a b"}.items()
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("7:8", "/srv/app/data", "SIGINT")
    assert set(config["ExposedPorts"]) == {"80/tcp", "443/tcp"} and set(config["Volumes"]) == {"/vol"}
    assert config["Healthcheck"]["Test"] == ["CMD-SHELL", "true"]
    assert "s3cr3t" not in machine("history", "--no-trunc", "app:1") + json.dumps(config)
    machine("rmi", "app:1", "other")


INHERITING = """
FROM busybox AS tools
RUN echo tool > /tool
FROM busybox AS base
ONBUILD ARG WORD
ONBUILD COPY --from=tools /tool /
FROM base
ARG http_proxy=none
RUN echo $http_proxy > /proxy
COPY *.so /lib/
COPY <<EOF /text
\\"$http_proxy\\" 'x'
EOF
HEALTHCHECK --start-interval=2s CMD true
"""
TRIGGERED = """
FROM busybox AS tools
RUN echo other > /tool
FROM triggering
"""


def test_triggers_links_and_proxies(machine: Machine, project: Project) -> None:
    folder = project(INHERITING, {"libx.so.1": "x", "other/Dockerfile": TRIGGERED})
    os.symlink("libx.so.1", f"{folder}/libx.so")
    machine("build", "-t", "inheriting", folder)
    seen = machine("run", "--rm", "inheriting", "cat", "/tool", "/proxy", "/text", "/lib/libx.so")
    assert seen.split("\n") == ["tool", "none", "\"none\" 'x'", "x"]
    assert machine("image", "inspect", "-f", "{{json .Config.OnBuild}}", "inheriting") in ("null", "[]")
    machine("build", "-t", "triggering", "--target", "base", folder)
    told = machine("build", "-t", "triggered", "--build-arg", "WORD=x", f"{folder}/other")
    assert "were not consumed" not in told
    assert machine("run", "--rm", "triggered", "cat", "/tool") == "other"
    machine("rmi", "inheriting", "triggered", "triggering")


def test_the_cache_is_exact_and_outlives_the_engine(machine: Machine, project: Project) -> None:
    text = "FROM busybox\nCOPY a /\nRUN cat /proc/sys/kernel/random/uuid > /id\nCOPY b /\nRUN cat a b > /both"
    folder = project(text, {"a": "1", "b": "2"})

    def identity(*words: str) -> str:
        machine("build", "-t", "cached", *words, folder)
        return machine("run", "--rm", "cached", "cat", "/id", "/both")

    first = identity()
    image = machine("images", "-q", "--no-trunc", "cached")
    os.utime(f"{folder}/a", (1, 1))
    machine.kill_engine()
    assert identity() == first
    assert machine("images", "-q", "--no-trunc", "cached") == image, "what changes nothing makes the same image"
    Path(f"{folder}/b").write_text("3")
    assert identity().split()[0] == first.split()[0]
    os.chmod(f"{folder}/a", 0o600)
    changed = identity()
    assert changed.split()[0] != first.split()[0], "a mode is part of the content"
    assert identity("--no-cache") != changed
    machine("rmi", "cached")
    assert "Total reclaimed space" in machine("builder", "prune", "-f")


def test_cache_from_takes_what_the_history_tells_only(machine: Machine, project: Project) -> None:
    text = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /id\n"
    text += "RUN --mount=type=bind,source=a,target=/a cat /a > /got"
    folder = project(text, {"a": "1"})
    machine("build", "-t", "before", folder)
    Path(f"{folder}/a").write_text("2")
    machine("build", "-t", "after", "--cache-from", "before", folder)
    before, after = (machine("run", "--rm", name, "cat", "/id", "/got").split() for name in ("before", "after"))
    assert after == [before[0], "2"]
    machine("rmi", "before", "after")


def test_docker_builds_by_the_classic_builder(machine: Machine, project: Project) -> None:
    folder = project("FROM busybox\nRUN echo err >&2\nCOPY . /c\nCMD cat /c/a", {"a": "A", ".dockerignore": "*\n!a"})
    out = machine.docker("build", "-t", "by-docker", "--label", "x=y", folder)
    assert "Step 2/5 : RUN echo err >&2\n ---> Running in " in out and "Successfully tagged by-docker:latest" in out
    assert " ---> Using cache" in machine.docker("build", "-t", "by-docker", "--label", "x=y", folder)
    assert machine.docker("run", "--rm", "by-docker") == "A"
    assert machine.docker("run", "--rm", "by-docker", "ls", "-A", "/c") == "a"
    assert machine.docker("build", "-q", folder).startswith("sha256:")
    machine.docker("rmi", "by-docker")


def test_an_image_says_what_ran_last(machine: Machine, project: Project) -> None:
    """compose v1 looks there for an image's volumes, to take them along to the next container."""
    folder = project("FROM busybox\nVOLUME /v\nARG WORD\nRUN echo $WORD", {})
    machine.docker("build", "-t", "telling", "--build-arg", "WORD=a b", folder)
    last = json.loads(machine("image", "inspect", "-f", "{{json .ContainerConfig}}", "telling"))
    assert last["Cmd"] == ["|1", "WORD=a b", "/bin/sh", "-c", "echo $WORD"]
    assert last["Volumes"] == {"/v": {}}
    machine("rmi", "telling")


def test_docker_finds_the_classic_builders_ways(machine: Machine, project: Project) -> None:
    """What moby's own tests of it look at."""
    made = "RUN cat /proc/sys/kernel/random/uuid > /id; echo once"
    twice = project(f"FROM busybox AS a\n{made}\nFROM busybox\n{made}\nCOPY --from=a /id /b\nRUN cmp /id /b\nRUN []")
    out = machine.docker("build", "-t", "ways", twice)
    assert out.count(" ---> Using cache\n") == 1, "one stage waits for what the other one makes"
    ports = [project(f"FROM scratch\nEXPOSE {order}\nCMD []") for order in ("80 2375", "2375 80")]
    first, second = (machine.docker("build", "-q", folder) for folder in ports)
    assert first == second
    assert machine.docker("inspect", "-f", "{{json .Config.Cmd}}{{.Config.Env}}", first).startswith("[][PATH=/usr/")
    assert "Step 1/3 : FROM scratch\n ---> \nStep 2/3" in machine.docker("build", ports[0])
    piped = f"printf 'FROM busybox\\nCMD echo piped' | DOCKER_BUILDKIT=0 {DOCKER} build -q -t ways -f - {twice}"
    machine.command(["sh", "-c", piped])
    assert machine.docker("run", "--rm", "ways") == "piped"
    gap = machine.docker("build", "--no-cache", "-t", "ways", project("FROM busybox\nRUN echo \\\n\n x"))
    assert "[WARNING]: Empty continuation line found in: RUN echo  x\n" in gap
    checks = project('FROM busybox\nHEALTHCHECK CMD a\nHEALTHCHECK CMD ["b"]\nRUN true\nWORKDIR /w')
    told = machine.docker("build", "-t", "ways", checks)
    assert "Note: overriding previous HEALTHCHECK: [CMD-SHELL a]\n" in told
    assert " ---> Removed intermediate container " in told
    assert machine.docker("history", "--format", "{{.CreatedBy}}", "ways").startswith("/bin/sh -c #(nop) WORKDIR /w\n")
    machine.docker("rmi", "ways", first)


def test_a_working_folder_is_the_users(machine: Machine, project: Project) -> None:
    """As with docker's own command line since 23, which builds by BuildKit. The classic builder's is root's."""
    folder = project('FROM busybox\nUSER 7:8\nWORKDIR /own\nCMD ["stat", "-c", "%u:%g", "."]')
    machine("build", "-q", "-t", "own", folder)
    assert machine("run", "--rm", "own") == "7:8"
    machine.docker("build", "-q", "-t", "own", folder)
    assert machine("run", "--rm", "own") == "0:0"
    machine("rmi", "own")


FAILURES = {
    "a command": (
        "FROM busybox\nRUN echo shown; exit 7",
        7,
        "'/bin/sh -c echo shown; exit 7' returned a non-zero code: 7",
    ),
    "a file": ("FROM busybox\nCOPY no /", 1, "file not found in build context or excluded by .dockerignore: stat no: "),
    "an instruction": ("FROM busybox\nRNU x", 1, "dockerfile parse error on line 2: unknown instruction: RNU"),
    "a user": ("FROM busybox\nUSER nobody-here\nRUN true", 1, "unable to find user nobody-here"),
    "an owner": (
        "FROM busybox\nCOPY --chown=1:nobody-here Dockerfile /",
        1,
        "host mapping: can't find gid for group nobody-here: no such group: nobody-here",
    ),
    "a file of an image": ("FROM busybox\nCOPY --from=busybox /no /", 1, "COPY failed: stat no: file does not exist"),
    "a volume": ("FROM busybox\nRUN touch /v\nVOLUME /v", 1, "cannot mount volume over existing file, file exists /v"),
    "a step": ("FROM scratch", 1, "No image was generated. Is your Dockerfile empty?"),
    "everything": ("", 1, "the Dockerfile (Dockerfile) cannot be empty"),
}


@pytest.mark.parametrize("missing", FAILURES)
def test_what_fails_says_why_and_leaves_nothing(machine: Machine, project: Project, missing: str) -> None:
    text, code, said = FAILURES[missing]
    folder = project(text)
    before = machine("images", "-aq")
    assert said in machine.fails(code, "build", "-t", "broken", folder)
    assert machine("images", "-aq") == before and machine("ps", "-aq") == ""


def test_outputs(machine: Machine, project: Project, tmp_path: Path) -> None:
    folder = project("FROM scratch\nCOPY a /sub/a\nCOPY b /b", {"a": "A", "b": "B"})
    machine("build", "-o", str(tmp_path / "out"), "--iidfile", str(tmp_path / "id"), folder)
    assert (tmp_path / "out/sub/a").read_text() == "A"
    assert (tmp_path / "id").read_text().startswith("sha256:")
    machine("build", "-o", f"type=tar,dest={tmp_path}/out.tar", folder)
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert {"b", "sub/a"} <= {name.removeprefix("./") for name in archive.getnames()}
    piped = machine.command(["sh", "-c", f"{HOSTVM} build -o - {folder} | tar -t"])
    assert (piped.code, {"b", "sub/a"} <= set(piped.out.replace("./", "").split())) == (0, True), "a tar alone"
    assert "Step 1/3" in piped.err
    assert machine("images", "-q", "-f", "dangling=true") == machine("ps", "-aq") == "", "files alone are made"
    assert (tmp_path / "id").read_text() == machine("build", "-q", folder), "the image that it would be"
    machine("build", "-t", "tagged", "-o", f"type=tar,dest={tmp_path}/out.tar", folder)
    machine("build", "-t", "saved", "-o", f"type=docker,dest={tmp_path}/image.tar", folder)
    with tarfile.open(tmp_path / "image.tar") as archive:
        assert "manifest.json" in archive.getnames()
    machine("rmi", "tagged", "saved")
    machine("build", "-o", str(tmp_path / "empty"), project("FROM scratch\nENV A=B"))
    assert list((tmp_path / "empty").iterdir()) == []


def test_standard_input(machine: Machine, project: Project) -> None:
    folder = project("FROM busybox\nCOPY a /\nCMD cat /a", {"a": "A"})
    shell = ("sh", "-c")
    machine.command(
        [*shell, f"printf 'FROM busybox\\nCOPY a /b\\nCMD cat /b\\n' | {HOSTVM} build -q -t piped -f - {folder}"]
    )
    assert machine("run", "--rm", "piped", "cat", "/b") == "A"
    machine.command([*shell, f"printf 'FROM busybox\\nCMD echo none\\n' | {HOSTVM} build -q -t piped -"])
    assert machine("run", "--rm", "piped") == "none"
    machine.command([*shell, f"tar -C {folder} -cz . | {DOCKER} build -q -t piped -"])
    assert machine("run", "--rm", "piped") == "A"
    machine("rmi", "piped")


def test_a_cancelled_build_leaves_nothing(machine: Machine, project: Project) -> None:
    """The audit behind every test looks for processes, mounts and folders."""
    folder = project("FROM busybox\nRUN echo begun; sleep 3600")
    building = machine.start("build", "-t", "cancelled", folder)
    assert building.stdout is not None
    while building.stdout.readline() != b"begun\n":
        assert building.poll() is None
    building.send_signal(signal.SIGINT)
    building.communicate()
    assert building.returncode == 130
    wait_for(lambda: machine.names_inside(f"{machine.data}/containers") == machine.containers(), "the step's end")
    assert machine("images", "-q", "cancelled") == ""


def hostile(members: dict[str, bytes | str]) -> bytes:
    """A tar with a Dockerfile that copies everything; a str is a link's target."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in {"Dockerfile": b"FROM scratch\nCOPY . /c", **members}.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
    return buffer.getvalue()


def test_hostile_contexts(machine: Machine) -> None:
    def fails(data: bytes) -> str:
        return machine.fails(1, "build", "-", stdin=data)

    outside: dict[str, bytes | str] = {"Dockerfile": b"FROM scratch\nCOPY e /c", "e": "../../../etc/passwd"}
    assert "file not found in build context" in fails(hostile(outside))
    assert "unexpected end of the archive" in fails(hostile({"x": b"y" * 9000})[:5000])
    assert "unexpected end of the compressed data" in fails(gzip.compress(hostile({}))[:60])
    strange = hostile({"\udcff\n": b"x", "a": "/etc", "a/x": b"inside", "link": "/nowhere"})
    machine("build", "-q", "-t", "strange", "-", stdin=strange)
    machine("rmi", "strange")


def test_devices_of_a_context(machine: Machine) -> None:
    """They are nodes that no container may open; one that overlayfs takes for a removed file can't be made."""

    def context(*devices: tuple[str, bytes, int, int]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            dockerfile = b"FROM busybox\nCOPY . /c\nCMD ls /c; cat /c/memory; cat /c/disk"
            member = tarfile.TarInfo("Dockerfile")
            member.size = len(dockerfile)
            archive.addfile(member, io.BytesIO(dockerfile))
            for name, kind, major, minor in devices:
                member = tarfile.TarInfo(name)
                member.type, member.devmajor, member.devminor = kind, major, minor
                archive.addfile(member)
        return buffer.getvalue()

    devices = [("memory", tarfile.CHRTYPE, 1, 1), ("disk", tarfile.BLKTYPE, 254, 0), ("pipe", tarfile.FIFOTYPE, 0, 0)]
    machine("build", "-q", "-t", "devices", "-", stdin=context(*devices))
    result = machine.attempt("run", "--rm", "devices")
    assert result.out.split() == ["Dockerfile", "disk", "memory", "pipe"]
    assert result.err.count("Operation not permitted") == 2
    whiteout = context(("removed", tarfile.CHRTYPE, 0, 0))
    assert "/c/removed: operation not permitted" in machine.fails(1, "build", "-", stdin=whiteout)
    machine("rmi", "devices")


def test_squash_makes_one_layer_with_the_same_files(machine: Machine, project: Project) -> None:
    steps = "COPY d /d\nRUN rm /d/a && echo c > /d/c && rm -r /d/s && mkdir /d/s && rm /bin/vi"
    folder = project(f"FROM busybox\n{steps}\nCMD ls /d /d/s", {"d/a": "a", "d/b": "b", "d/s/hidden": ""})
    machine("build", "-t", "plain", folder)
    machine("build", "-t", "squashed", "--squash", folder)
    layers = "{{len .RootFS.Layers}}"
    assert machine("inspect", "-f", layers, "squashed") == "2"
    assert machine("run", "--rm", "squashed") == machine("run", "--rm", "plain")
    machine("rmi", "plain", "squashed")


@pytest.mark.parametrize("action", ["error", "kill"])
def test_every_step_of_a_build_may_fail(fresh_machine: MachineMaker, project: Project, action: str) -> None:
    """Failing or killed at each step: nothing is tagged, nothing is left, and a retry succeeds."""
    folder = project("FROM busybox\nCOPY a /\nRUN echo made > /made\nCMD cat /a /made", {"a": "a"})
    machine = fresh_machine("busybox")
    for name in find_failpoints("build"):
        machine.restart({"HOSTVM_FAILPOINTS": f"{name}={action}"})
        assert machine.attempt("build", "--no-cache", "-t", "tried", folder).code, name
        machine.restart({})
        if name != "build.image.after":
            assert machine("images", "-q", "tried") == "", name
        assert machine.names_inside(f"{machine.data}/containers") == [], name
        machine.attempt("rmi", "tried")
    machine("build", "-q", "-t", "tried", folder)
    assert machine("run", "--rm", "tried") == "amade"
