"""A container's files: cp in both directions, diff, export, commit; with our command line and docker's."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from tests.behaviour.harness.api import Api
from tests.behaviour.harness.machine import DOCKER, Machine

Member = tuple[str, bytes, str]  #: name, type, and what a file holds or where a link leads
FILE, FOLDER, LINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE


def tar_of(*members: Member, mode: str = "w") -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:  # type: ignore[call-overload]
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid = kind, 0o755 if kind == FOLDER else 0o640, 1234, 4321
            info.linkname, info.size = (text, 0) if kind == LINK else ("", len(text))
            archive.addfile(info, io.BytesIO(text.encode()))
    return data.getvalue()


@pytest.fixture
def api(machine: Machine) -> Api:
    return Api(machine)


def run_idle(machine: Machine, *options: str) -> str:
    return machine("run", "-d", *options, "busybox", "sleep", "3600")


def listed(machine: Machine, container: str, folder: str) -> list[str]:
    return machine("exec", container, "sh", "-c", f"cd {folder} && find . | sort").split()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """dir/a, dir/inner/b, a link to each kind, a file."""
    (tmp_path / "dir" / "inner").mkdir(parents=True)
    (tmp_path / "dir" / "a").write_text("of a\n")
    (tmp_path / "dir" / "inner" / "b").write_text("of b\n")
    (tmp_path / "dir" / "a").chmod(0o640)
    (tmp_path / "file").write_text("a file\n")
    os.symlink("dir", tmp_path / "to-dir")
    os.symlink("file", tmp_path / "to-file")
    return tmp_path


@pytest.mark.parametrize("client", ["hostvm", "docker"])
def test_cp_there_and_back(client: str, machine: Machine, tree: Path) -> None:
    cp: Callable[..., str] = machine if client == "hostvm" else machine.docker
    name = run_idle(machine)
    cp("cp", f"{tree}/dir", f"{name}:/tmp/new")
    cp("cp", f"{tree}/dir", f"{name}:/tmp/new")
    cp("cp", f"{tree}/dir/.", f"{name}:/tmp/new/flat")
    cp("cp", f"{tree}/to-file", f"{name}:/tmp/link")
    cp("cp", "-L", f"{tree}/to-file", f"{name}:/tmp/followed")
    cp("cp", f"{tree}/file", f"{name}:/tmp/new/a")
    assert listed(machine, name, "/tmp/new") == [
        ".", "./a", "./dir", "./dir/a", "./dir/inner", "./dir/inner/b", "./flat", "./flat/a", "./flat/inner",
        "./flat/inner/b", "./inner", "./inner/b",
    ]  # fmt: skip
    assert machine("exec", name, "cat", "/tmp/new/a", "/tmp/followed") == "a file\na file"
    assert machine("exec", name, "readlink", "/tmp/link") == "file"
    assert machine("exec", name, "stat", "-c", "%a", "/tmp/new/dir/a") == "640"
    for running in (True, False):
        if not running:
            machine("kill", name)
        out = tree / f"out-{running}"
        cp("cp", f"{name}:/tmp/new", str(out))
        cp("cp", f"{name}:/tmp/new/dir/a", str(out / "single"))
        cp("cp", f"{name}:/tmp/link", str(out))
        assert sorted(os.listdir(out)) == ["a", "dir", "flat", "inner", "link", "single"]
        assert (out / "single").read_text() == "of a\n" and os.readlink(out / "link") == "file"
        assert (out / "dir" / "inner" / "b").read_text() == "of b\n"


def test_cp_of_archives(machine: Machine) -> None:
    name = run_idle(machine)
    data = tar_of(("x", FOLDER, ""), ("x/y", FILE, "piped"))
    assert machine.attempt("cp", "-", f"{name}:/tmp", stdin=data).code == 0
    assert machine("exec", name, "cat", "/tmp/x/y") == "piped"
    assert machine("exec", name, "stat", "-c", "%u:%g", "/tmp/x/y") == "1234:4321"
    assert machine.docker("cp", "-", f"{name}:/tmp", stdin=data) == ""
    out = machine.command(["sh", "-c", f"{DOCKER} cp {name}:/tmp/x - | tar -t"]).out
    assert out.split() == ["x/", "x/y"]


def test_cp_says_what_is_wrong(machine: Machine, tree: Path) -> None:
    name = machine("create", "--name", "still", "busybox", "true")
    refusals = [
        (("still:/a", "still:/b"), "copying between containers is not supported"),
        (("a", "b"), "must specify at least one container source"),
        (("", "b"), "source can not be empty"),
        ((f"{tree}/none", "still:/"), f"lstat {tree}/none: no such file or directory"),
        ((f"{tree}/file", "still:/none/"), "no such directory"),
        ((f"{tree}/dir", "still:/bin/busybox"), "cannot copy directory"),
        (("-", "still:/bin/busybox"), 'destination "still:/bin/busybox" must be a directory'),
        (
            (f"{tree}/file", "still:/no/where"),
            "Error response from daemon: Could not find the file /no in container still",
        ),
        (("still:/none", "x"), "Error response from daemon: Could not find the file /none in container still"),
        (("nobody:/etc", "x"), "Error response from daemon: No such container: nobody"),
        (("still:/etc", f"{tree}/no/x"), f'invalid output path: directory "{tree}/no" does not exist'),
    ]
    for words, message in refusals:
        assert machine.fails(1, "cp", *words) == f"{message}\n"
    told = machine.attempt("cp", "--quiet=false", f"{tree}/file", f"{name}:/file").err
    assert told == f"Successfully copied 2.05kB to {name}:/file\n"


def test_cp_in_a_terminal_tells_how_much(machine: Machine, tree: Path, terminal: Callable[..., object]) -> None:
    machine("create", "--name", "still", "busybox", "true")
    with terminal("cp", f"{tree}/file", "still:/") as screen:  # type: ignore[attr-defined]
        screen.expect(r"Successfully copied 2\.05kB to still:/$")
        assert screen.wait() == 0


def test_what_is_at_a_path(machine: Machine, api: Api) -> None:
    name = run_idle(machine)
    machine(
        "exec", name, "sh", "-c", "mkdir -p /tmp/d/e; ln -s d/e /tmp/l; ln -s /nowhere /tmp/broken; chmod 4755 /tmp/d"
    )
    assert api.stat(name, "/tmp/d")["mode"] == 1 << 31 | 1 << 23 | 0o755
    link = api.stat(name, "/tmp/l")
    assert (link["name"], link["mode"], link["linkTarget"]) == ("l", 1 << 27 | 0o777, "/tmp/d/e")
    assert (api.stat(name, "/tmp/l/")["name"], api.stat(name, "/tmp/l/.")["name"]) == ("l", ".")
    assert api.stat(name, "/tmp/broken")["linkTarget"] == "/nowhere"
    assert (api.stat(name, "tmp/../tmp/d")["name"], api.stat(name, "/")["name"]) == ("d", "/")
    assert api.names(name, "/tmp/d") == ["d", "d/e"]
    assert api.names(name, "/tmp/d/.") == [".", "./e"]
    assert api.names(name, "/tmp/l") == ["l"]
    assert api.names(name, "/tmp/l/") == ["l"]
    assert "/tmp/d/e" in api.names(name, "/")
    assert api.ask("HEAD", f"/containers/{name}/archive?path=/tmp/none")[0].status == 404


def test_archives_in_every_compression(machine: Machine, api: Api) -> None:
    name = run_idle(machine)
    plain = tar_of(("name", FILE, "text"))
    packed = {
        "plain": plain, "gzip": gzip.compress(plain), "bzip2": bz2.compress(plain), "xz": lzma.compress(plain),
        "zstd": zstandard.ZstdCompressor().compress(plain),
    }  # fmt: skip
    for kind, data in packed.items():
        assert api.put(name, "/tmp", data) == (200, "")
        assert machine("exec", name, "cat", "/tmp/name") == "text", kind
        machine("exec", name, "rm", "/tmp/name")
    assert api.put(name, "/tmp", b"") == (200, "")
    assert api.put(name, "/tmp", b"nonsense" * 100)[0] == 500
    assert api.put(name, "/tmp", plain[:514])[0] == 500, "it ends in the middle of the text"


def test_archives_and_what_stands_there(machine: Machine, api: Api) -> None:
    name = run_idle(machine, "-u", "1000:1000")
    machine("exec", "-u", "0", name, "sh", "-c", "mkdir -p /t/dir; echo x >/t/file; ln -s /t/dir /t/link")
    assert api.put(name, "/t/file", tar_of()) == (400, "extraction point is not a directory")
    assert api.put(name, "/none", tar_of()) == (404, f"Could not find the file /none in container {name}")
    keep = "&noOverwriteDirNonDir=1"
    refused = api.put(name, "/t", tar_of(("dir", FILE, "")), keep)
    assert refused == (500, 'cannot overwrite directory "/t/dir" with non-directory "/t"')
    refused = api.put(name, "/t", tar_of(("file", FOLDER, "")), keep)
    assert refused == (500, 'cannot overwrite non-directory "/t/file" with directory "/t"')
    assert api.put(name, "/t/link", tar_of(("through", FILE, "")), "&copyUIDGID=1") == (200, "")
    assert machine("exec", name, "stat", "-c", "%u:%g", "/t/dir/through") == "1000:1000"
    assert api.put(name, "/t", tar_of(("file", FOLDER, ""), ("dir", FILE, ""), (".wh.file", FILE, ""))) == (200, "")
    assert listed(machine, name, "/t") == [".", "./.wh.file", "./dir", "./file", "./link"]


def test_nothing_leads_out_of_a_container(machine: Machine, api: Api) -> None:
    name = run_idle(machine)
    machine(
        "exec", name, "sh", "-c", "ln -s / /tmp/root; ln -s ../../../../../../etc /tmp/up; ln -s /proc/1/root /tmp/p"
    )
    host = set(machine.ask("names", "/"))
    assert api.put(name, "/tmp/root", tar_of(("outside", FILE, "x"))) == (200, "")
    assert api.put(name, "/tmp/up", tar_of(("outside", FILE, "x"))) == (200, "")
    links = tar_of(("l", LINK, "/"), ("l/written", FILE, "x"), ("m", LINK, "../../../.."), ("m/also", FILE, "x"))
    assert api.put(name, "/tmp", links) == (200, "")
    assert api.put(name, "/tmp", tar_of(("../out", FILE, "x"))) == (500, '"../out" is outside of "/tmp"')
    assert machine("exec", name, "ls", "/outside", "/etc/outside", "/written", "/also").split() == [
        "/also", "/etc/outside", "/outside", "/written",
    ]  # fmt: skip
    assert set(machine.ask("names", "/")) == host
    # The kernel's own links, which lead anywhere, aren't there: nothing of /proc is seen.
    assert api.ask("GET", f"/containers/{name}/archive?path=/tmp/p/")[0].status == 404
    assert api.names(name, "/proc") == ["proc"]


def test_volumes_and_what_may_not_be_written(machine: Machine, api: Api, tmp_path: Path) -> None:
    (tmp_path / "seen").write_text("x")
    mounts = ("-v", "stuff:/stuff", "-v", f"{tmp_path}:/bound:ro", "-v", f"{tmp_path}/seen:/file")
    for name in (machine("create", *mounts, "busybox", "true"), run_idle(machine, "--read-only", *mounts)):
        assert api.put(name, "/stuff", tar_of((f"of-{name[:4]}", FILE, ""))) == (200, "")
        assert api.put(name, "/bound", tar_of(("new", FILE, ""))) == (400, "mounted volume is marked read-only")
        assert {"bound/seen"} <= set(api.names(name, "/bound")) and api.names(name, "/file") == ["file"]
    assert api.put(name, "/tmp", tar_of()) == (400, "container rootfs is marked read-only")
    assert len(machine("exec", name, "ls", "/stuff").split()) == 2
    assert os.listdir(tmp_path) == ["seen"]


def test_a_volume_with_a_file_system_of_its_own(machine: Machine, api: Api) -> None:
    """It is mounted while a container runs, and so it must be while a stopped one's files are looked at."""
    machine("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory")
    name = machine("create", "-v", "memory:/m", "busybox", "true")
    other = run_idle(machine, "-v", "memory:/m")
    assert api.put(name, "/m", tar_of(("shared", FILE, "x"))) == (200, "")
    assert machine("exec", other, "ls", "/m") == "shared"
    machine("rm", "-f", other)
    assert api.names(name, "/m") == ["m"]


def test_diff(machine: Machine) -> None:
    script = (
        "mkdir /new; echo x >/new/a; rm /bin/yes; echo x >>/etc/passwd; mkdir /etc/d; rmdir /etc/d; echo x >/data/y"
    )
    name = machine("run", "-d", "-v", "/data", "busybox", "sh", "-c", f"{script}; sleep 3600")
    machine("exec", name, "sh", "-c", "until [ -e /data/y ]; do sleep 0.1; done")
    expected = "C /bin\nD /bin/yes\nA /data\nC /etc\nC /etc/passwd\nA /new\nA /new/a"
    assert machine("diff", name) == expected
    assert sorted(machine.docker("diff", name).split("\n")) == sorted(expected.split("\n"))
    machine("kill", name)
    assert machine("diff", name) == expected
    assert machine("diff", machine("create", "busybox", "true")) == ""
    assert machine.fails(1, "diff", "nobody") == "Error response from daemon: No such container: nobody\n"


def test_export(machine: Machine, tmp_path: Path, terminal: Callable[..., object]) -> None:
    name = run_idle(machine)
    machine("exec", name, "touch", "/here")
    machine("export", "-o", f"{tmp_path}/out.tar", name)
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert {"here", "bin/busybox"} <= {member.removeprefix("./") for member in archive.getnames()}
    assert machine.fails(1, "export", "-o", f"{tmp_path}/no/out.tar", name).startswith(
        "failed to export container: invalid output path: directory"
    )
    assert machine.fails(1, "export", "-o", f"{tmp_path}/x", "nobody") == (
        "Error response from daemon: No such container: nobody\n"
    )
    assert os.listdir(tmp_path) == ["out.tar"]
    with terminal("export", name) as screen:  # type: ignore[attr-defined]
        screen.expect("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        assert screen.wait() == 1


def test_commit_completes_what_it_is_told(machine: Machine) -> None:
    name = machine("run", "-d", "-e", "KEPT=1", "-w", "/work", "busybox", "sh", "-c", "echo x >/made; sleep 3600")
    machine("exec", name, "sh", "-c", "until [ -e /made ]; do sleep 0.1; done")
    try:
        machine.docker(
            "commit", "-a", "me", "-m", "words", "-c", "ENV ADDED=2", "-c", "WORKDIR deeper", "-c", "EXPOSE 80", "-c",
            "HEALTHCHECK CMD true", "-c", "LABEL a=b", "-c", 'CMD ["cat", "/made"]', name, "committed:1",
        )  # fmt: skip
        (seen,) = json.loads(machine("image", "inspect", "committed:1"))
        assert seen["Parent"] == machine("inspect", "-f", "{{.Image}}", name)
        ran = json.loads(machine("inspect", "-f", "{{json .Config}}", name))
        assert (seen["Container"], seen["ContainerConfig"]) == (name, ran)
        config = seen["Config"]
        assert {"KEPT=1", "ADDED=2"} <= set(config["Env"]) and config["WorkingDir"] == "/work/deeper"
        assert (config["Healthcheck"]["Test"], config["Labels"]["a"]) == (["CMD-SHELL", "true"], "b")
        assert (seen["Author"], seen["Comment"], config["ExposedPorts"]) == ("me", "words", {"80/tcp": {}})
        assert machine("run", "--rm", "committed:1") == "x"
        refused = machine.fails(1, "commit", "-c", "RUN x", name)
        assert refused.startswith("Error response from daemon: run is not a valid change command\n")
    finally:
        machine.attempt("rmi", "-f", "committed:1")


def test_a_commit_of_a_given_time_is_the_same_image_again(machine: Machine, api: Api) -> None:
    """Whichever container it is of, and whenever that ran: its times are later than that, and become that."""
    images = set()
    for _ in range(2):
        time.sleep(1)  # they have to have run in different seconds
        name = machine("run", "-d", "busybox", "touch", "/file")
        machine("wait", name)
        _, answer = api.call("POST", f"/commit?container={name}&repo=again&hostvm-created=7", {})
        assert isinstance(answer, dict)
        images.add(answer["Id"])
    assert len(images) == 1
    assert machine("image", "inspect", "-f", "{{.Created}}", "again") == "1970-01-01T00:00:07.000000000Z"
    machine("rmi", "again")
