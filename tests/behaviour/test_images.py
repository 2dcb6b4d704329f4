"""Images by the command lines, ours and docker's: saved, loaded, pushed, imported, pruned."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.conftest import MachineMaker
from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.worker import Worker
from tests.behaviour.images.layouts import File, make_tar
from tests.behaviour.images.registry_process import RegistryProcess


@pytest.fixture
def registry(worker: Worker, tmp_path: Path) -> Iterator[RegistryProcess]:
    place = tmp_path / "registry"
    place.mkdir()
    with RegistryProcess(place) as process:
        yield process


@pytest.fixture
def own(fresh_machine: MachineMaker) -> Machine:
    """A machine whose images a test may do with as it likes."""
    return fresh_machine("busybox")


def test_an_image_goes_out_and_comes_back(own: Machine, registry: RegistryProcess, tmp_path: Path) -> None:
    """To a file, to a registry and from both, by both command lines; its id is the same everywhere."""
    image_id = own("images", "-q", "--no-trunc", "busybox")
    name = f"{registry.address}/team/busybox:1"
    own("tag", "busybox", name)
    lines = own("push", name).splitlines()
    assert lines[0] == f"The push refers to repository [{registry.address}/team/busybox]"
    assert lines[-1].startswith("1: digest: sha256:")
    assert own.docker("push", name).splitlines()[-2].endswith(": Layer already exists")
    archive = str(tmp_path / "saved.tar")
    own("save", "-o", archive, "busybox", name)
    own("rmi", "busybox", name)
    assert sorted(own.docker("load", "-i", archive).splitlines()) == [
        f"Loaded image: {name}",
        "Loaded image: busybox:latest",
    ]
    own("rmi", "busybox", name)
    own.docker("pull", "-q", "-a", f"{registry.address}/team/busybox")
    assert own("images", "-q", "--no-trunc") == image_id
    assert own("run", "--rm", name, "echo", "back") == "back"


def test_parents_come_back_with_the_images(own: Machine, tmp_path: Path) -> None:
    """Within an archive, as dockerd's; and what is loaded over itself keeps parent and time (moby's TestSaveLoad…)."""
    own("create", "--name", "one", "busybox")
    older = own("commit", "one", "older:1")
    own("create", "--name", "two", "older:1")
    newer = own("commit", "two", "newer:1")
    before = own.docker("image", "inspect", "newer:1", "older:1")
    archive = str(tmp_path / "both.tar")
    own("save", "-o", archive, "older:1", "newer:1")
    own("load", "-i", archive)
    assert own.docker("image", "inspect", "newer:1", "older:1") == before
    own("rm", "one", "two")
    own("rmi", "newer:1", "older:1")
    own("load", "-i", archive)
    loaded = json.loads(own("image", "inspect", newer, older))
    assert [one["Parent"] for one in loaded] == [older, ""]
    assert loaded[0]["Metadata"]["LastTagTime"] == "0001-01-01T00:00:00Z"


def test_save_refuses_what_can_t_be(own: Machine, tmp_path: Path) -> None:
    complaint = own.fails(1, "save", "-o", str(tmp_path / "none/x.tar"), "busybox")
    assert complaint.startswith("failed to save image: invalid output path")
    assert own.fails(1, "save", "-o", str(tmp_path / "x.tar"), "nosuch") != ""
    assert not os.listdir(tmp_path)


def test_import_a_root_file_system(own: Machine, tmp_path: Path) -> None:
    root = tmp_path / "root.tar"
    root.write_bytes(make_tar(File("hello", b"hi\n")))
    image_id = own("import", "-m", "made", "-c", 'CMD ["cat", "/hello"]', "-c", "LABEL a=b", str(root), "mine:1")
    found = json.loads(own("image", "inspect", "mine:1"))[0]
    assert (found["Id"], found["Config"]["Cmd"], found["Comment"]) == (image_id, ["cat", "/hello"], "made")
    assert own.docker("import", str(root)).startswith("sha256:")
    assert own("history", "--format", "{{.Comment}} {{.Size}}", "mine:1") == "made 3B"


def test_prune_asks_and_counts(own: Machine, tmp_path: Path) -> None:
    """Dangling images first; with -a what no container uses; the question is docker's, and n means no."""
    root = tmp_path / "root.tar"
    for content in (b"one", b"two"):
        root.write_bytes(make_tar(File("hello", content)))
        own("import", str(root), "mine:1")
    own("create", "--name", "user", "busybox", "true")
    assert own("image", "prune", stdin=b"n\n").endswith("Are you sure you want to continue? [y/N] ")
    first = own("image", "prune", "-f")
    assert first.startswith("Deleted Images:\ndeleted: sha256:") and first.endswith("Total reclaimed space: 3B")
    second = own("system", "prune", "-af", "--filter", "label!=keep").splitlines()
    assert second[0] == "Deleted Containers:" and "untagged: mine:1" in second and "untagged: busybox:latest" in second
    assert own("images", "-q") == ""
    table = own("system", "df").splitlines()
    assert table[1].split() == ["Images", "0", "0", "0B", "0B"]


def test_who_may_remove_an_image(own: Machine) -> None:
    own("tag", "busybox", "other:1")
    image_id = own("images", "-q", "busybox")
    own("run", "-d", "--name", "runs", "busybox", "sleep", "60")
    assert "(cannot be forced) - image is being used by running container" in own.fails(1, "rmi", "-f", image_id)
    own("rm", "-f", "runs")
    assert "(must be forced) - image is referenced in multiple repositories" in own.fails(1, "rmi", image_id)
    events = own("rmi", "-f", image_id).splitlines()
    assert events[:2] == ["Untagged: busybox:latest", "Untagged: other:1"]
    assert [line.partition(":")[0] for line in events[2:]] == ["Deleted", "Deleted"]


def test_push_needs_a_login(own: Machine, registry: RegistryProcess, tmp_path: Path) -> None:
    place = tmp_path / "closed"
    place.mkdir()
    line = subprocess.run(["htpasswd", "-Bbn", "ann", "secret"], capture_output=True, text=True, check=True).stdout
    with RegistryProcess(place, line) as closed:
        login = ("login", "-u", "ann", "--password-stdin", closed.address)
        complaint = own.fails(1, *login, stdin=b"guess")
        assert f"login attempt to http://{closed.address}/v2/ failed with status: 401 Unauthorized" in complaint
        assert own(*login, stdin=b"secret") == "Login Succeeded"
        name = f"{closed.address}/busybox:1"
        own("tag", "busybox", name)
        own("push", "-q", name)
        own("logout", closed.address)
        assert own.fails(1, "push", "-q", name) == "Error response from daemon: no basic auth credentials\n"


def test_another_engine_s_images(own: Machine, fresh_machine: MachineMaker) -> None:
    other = fresh_machine()
    assert other("image", "import-from", own.socket, "busybox") == "Loaded image: busybox:latest"
    assert "name some, or take --all" in other.fails(1, "image", "import-from", own.socket)
    assert other("images", "-q") == own("images", "-q")


def test_a_manifest_list(own: Machine, registry: RegistryProcess, tmp_path: Path) -> None:
    """Two platforms under one name, one of them from another repository; a pull takes the one that fits."""
    root = tmp_path / "root.tar"
    root.write_bytes(make_tar(File("hello", b"arm")))
    arm, amd, both = (f"{registry.address}/{name}" for name in ("other:arm", "app:amd", "app:1"))
    own("import", "--platform", "linux/arm64", str(root), arm)
    own("tag", "busybox", amd)
    for name in (arm, amd):
        own("push", "-q", name)
    assert own("manifest", "create", both, arm, amd) == f"Created manifest list {both}"
    assert "refusing to amend" in own.fails(1, "manifest", "create", both, arm)
    unsupported = "manifest entry for image has unsupported os/arch combination: linux/abacus"
    assert unsupported in own.fails(1, "manifest", "annotate", "--arch", "abacus", both, arm)
    own("manifest", "annotate", "--variant", "v8", "--os-version", "6.1", "--os-features", "f", both, arm)
    (layer,) = json.loads(own("manifest", "inspect", both, arm))["layers"]
    *lines, digest = own("manifest", "push", "--purge", both).splitlines()
    assert [line.split("@")[0] for line in lines] == [f"Pushed ref {registry.address}/app"]
    listed = json.loads(own("manifest", "inspect", both))["manifests"]
    assert [entry["platform"]["architecture"] for entry in listed] == ["arm64", "amd64"]
    assert listed[0]["platform"].items() >= {"os.version": "6.1", "os.features": ["f"], "variant": "v8"}.items()
    first, second = json.loads(own("manifest", "inspect", "-v", both))
    assert (first["Ref"], first["Descriptor"]) == (f"{both}@{listed[0]['digest']}", listed[0])
    assert first["SchemaV2Manifest"]["layers"] == [layer] != second["SchemaV2Manifest"]["layers"]
    assert f"{both} is a manifest list" in own.fails(1, "manifest", "create", f"{both}0", both)
    assert own.fails(1, "manifest", "inspect", f"{both}0") == f"no such manifest: {both}0\n"
    assert own.fails(1, "manifest", "rm", both) == f"No such manifest: {both}\n"
    own("rmi", amd, arm)
    assert f"Digest: {digest}" in own("pull", "--platform", "linux/arm64", both)
    assert own("image", "inspect", "-f", "{{.Architecture}}", both) == "arm64"
    again = own.attempt("run", "--rm", "--platform", "linux/amd64", both, "echo", "amd")
    assert (again.out, f"Unable to find image '{both}' locally" in again.err) == ("amd\n", True), "not that platform's"
