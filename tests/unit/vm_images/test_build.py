"""The builder against an engine that keeps what it is told: what is loaded, committed, and left behind."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from guest_agent.wire.errors import HostFailed, NotFound
from tests.unit.vm_images.conftest import Opener
from tests.unit.vm_images.small_archive import Silent, SmallArchive, make_tar
from vm_images.archive_file import Settings
from vm_images.build import Builder, plan_changes
from vm_images.busybox import find_applets
from vm_images.chunks import ChunkReader
from vm_images.mariadb import ENTRYPOINT
from vm_images.recipes import RECIPES, Recipe
from vm_images.sbom import MEDIA_TYPE

APPLETS = ["[", "[[", "ash", "awk", "cat", "cp", "echo", "ls", "mv", "rm", "sh", "true", "vi"]
BUSYBOX = b"ELF" + b"\0" + "\0".join(APPLETS).encode() + b"\0\0/var/log"


class MemoryHost:
    """An ImageHost whose containers run nothing."""

    def __init__(self) -> None:
        self.images: dict[str, dict[str, str]] = {}
        self.files: dict[str, dict[str, tarfile.TarInfo]] = {}
        self.containers: set[str] = set()
        self.scripts: list[str] = []
        self.changes: list[str] = []
        self.exit_code = 0
        self.created: list[int] = []
        self.ends_before_attaching = ""
        self.attached: dict[tuple[str, str], bytes] = {}
        self.exported = make_tar({"usr/bin/bash": b"x", "var/log/dpkg.log": b"x", "etc/machine-id": b"x", "tmp/x": b""})

    def find_labels(self, reference: str) -> Mapping[str, str] | None:
        return self.images.get(reference)

    def load(self, archive: Iterator[bytes]) -> None:
        with tarfile.open(fileobj=io.BytesIO(b"".join(archive))) as image:
            entry = json.loads(_read(image, "manifest.json"))[0]
            config = json.loads(_read(image, entry["Config"]))
            with tarfile.open(fileobj=io.BytesIO(_read(image, entry["Layers"][0]))) as layer:
                files = {member.name: member for member in layer}
        self.images[entry["RepoTags"][0]] = config["config"].get("Labels", {})
        self.files[entry["RepoTags"][0]] = files

    def create(self, image: str, command: Sequence[str], packages: str, target: str) -> str:
        assert image in self.images
        self.scripts.append(command[-1])
        self.containers.add("c1")
        return "c1"

    def run(self, container: str, output: Callable[[bytes], None]) -> int:
        output(b"Setting up\ndpkg: error processing x\nmore\n")
        return self.exit_code

    def export(self, container: str) -> Iterator[bytes]:
        yield self.exported

    def attach(self, reference: str, media_type: str, document: bytes) -> None:
        assert reference in self.images
        if self.ends_before_attaching == reference:
            raise KeyboardInterrupt
        self.attached[reference, media_type] = document

    def commit(self, container: str, reference: str, changes: Sequence[str], created: int) -> None:
        self.created.append(created)
        self.changes = list(changes)
        label = next(change for change in changes if change.startswith("LABEL "))
        name, _, value = label.removeprefix("LABEL ").partition("=")
        self.images[reference] = {name: value.strip("'")}

    def remove_container(self, container: str) -> None:
        self.containers.discard(container)

    def remove_image(self, reference: str) -> None:
        self.images.pop(reference, None)


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


@pytest.fixture
def host() -> MemoryHost:
    return MemoryHost()


@pytest.fixture
def builder(small: SmallArchive, opened: Opener, host: MemoryHost, progress: Silent) -> Builder:
    small.add("busybox-static", files={"bin/busybox": BUSYBOX, "usr/share/man/x": b""})
    small.add(
        "base-passwd", "Essential: yes\n", {"usr/share/base-passwd/passwd.master": b"root:*:0:0::/root:/bin/sh\n"}
    )
    small.add("bash", "Essential: yes\nPre-Depends: libc6\n", {"bin/bash": b"bash"})
    small.add("libc6", files={"lib/libc.so": b"libc"})
    small.add("tzdata", "Priority: required\n")
    small.add("apt", "Depends: adduser\n")
    small.add("adduser")
    small.add("nginx", "Depends: libc6, nginx-common\n")
    small.add("nginx-common")
    small.publish()
    return Builder(opened(), host, progress)


def test_busybox(builder: Builder, host: MemoryHost) -> None:
    assert builder.busybox("busybox:latest")
    files = host.files["busybox:latest"]
    links = [name for name, member in files.items() if name.startswith("bin/") and (member.islnk() or member.isreg())]
    assert sorted(links) == sorted(f"bin/{name}" for name in [*APPLETS, "busybox"])
    assert files["tmp"].mode == 0o1777
    assert "usr/share/man/x" not in files


def test_a_second_run_has_nothing_to_do(builder: Builder, host: MemoryHost) -> None:
    assert builder.busybox("busybox:latest")
    assert not builder.busybox("busybox:latest")
    assert builder.debian("bookworm", "debian:bookworm")
    assert not builder.debian("bookworm", "debian:bookworm")
    assert len(host.scripts) == 1


def test_a_second_run_reads_no_package_list(
    builder: Builder, opened: Opener, host: MemoryHost, progress: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder.busybox("busybox:latest")
    archive = opened()
    monkeypatch.setattr(archive, "_indices", lambda: pytest.fail("read the package lists"))
    assert not Builder(archive, host, progress).busybox("busybox:latest")


def test_an_image_that_was_removed_is_made_again(builder: Builder, host: MemoryHost) -> None:
    builder.busybox("busybox:latest")
    host.remove_image("busybox:latest")
    assert builder.busybox("busybox:latest")


@pytest.mark.parametrize("image", ["busybox", "debian", "web"])
def test_an_image_whose_making_was_ended_before_its_sbom_gets_it(
    builder: Builder, host: MemoryHost, image: str
) -> None:
    """It was up to date from then on, and no push sent its SBOM along."""
    makers: dict[str, Callable[[], bool]] = {
        "busybox": lambda: builder.busybox(image),
        "debian": lambda: builder.debian("bookworm", image),
        "web": lambda: builder.include("base", image, Recipe("bookworm", ("nginx",))),
    }
    host.ends_before_attaching = image
    with pytest.raises(KeyboardInterrupt):
        makers[image]()
    assert image in host.images and (image, MEDIA_TYPE) not in host.attached
    host.ends_before_attaching = ""
    installed = len(host.scripts)
    assert not makers[image]()
    assert host.attached[image, MEDIA_TYPE] == builder.sboms[image]
    assert len(host.scripts) == installed


def test_applets_of_a_binary_without_any() -> None:
    from guest_agent.wire.errors import PeerMisbehaved

    with pytest.raises(PeerMisbehaved, match="no list of applets"):
        find_applets(b"ELF\0[\0")


def test_debian(builder: Builder, host: MemoryHost) -> None:
    assert builder.debian("bookworm", "debian:bookworm")
    assert list(host.images) == ["debian:bookworm"]
    assert not host.containers
    files = host.files["debian:bookworm"]
    assert {"usr/bin/bash", "etc/apt/sources.list.d/debian.sources", "etc/hostname"} <= set(files)
    assert not {"var/log/dpkg.log", "etc/machine-id", "tmp/x"} & set(files)


def test_slim(builder: Builder, host: MemoryHost) -> None:
    """Licences and links stay."""
    doc = "usr/share/doc"
    kept = {f"{doc}/bash/copyright", f"{doc}/bash/", "usr/share/locale/", "usr/bin/bash"}
    dropped = {f"{doc}/bash/README", f"{doc}/bash/examples/copyright", "usr/share/locale/de/bash.mo", "usr/share/man/x"}
    host.exported = make_tar(dict.fromkeys(sorted(kept | dropped), b""))
    assert builder.debian("bookworm", "full:1")
    assert builder.debian("bookworm", "slim:1", slim=True)
    assert {name.rstrip("/") for name in kept | dropped} <= set(host.files["full:1"])
    files = set(host.files["slim:1"])
    assert {name.rstrip("/") for name in kept} <= files
    assert not files & dropped
    assert "etc/dpkg/dpkg.cfg.d/docker" in files - set(host.files["full:1"])
    assert host.images["slim:1"] != host.images["full:1"]


def test_stage_1_has_the_essential_packages_and_no_state_of_dpkg(builder: Builder, host: MemoryHost) -> None:
    builder.debian("bookworm", "debian:bookworm")
    (name,) = [name for name in host.files if name.startswith("hostvm-bootstrap:")]
    files = host.files[name]
    assert {"usr/bin/bash", "usr/lib/libc.so", "etc/passwd", "var/lib/dpkg/status"} <= set(files)
    assert files["var/lib/dpkg/status"].size == 0
    assert files["bin"].issym()


def commands(script: str) -> list[int]:
    """How many packages each `dpkg --install` takes."""
    return [line.count("/mnt/") for line in script.splitlines() if "--install" in line]


def test_the_essential_packages_are_installed_first(builder: Builder, host: MemoryHost) -> None:
    builder.debian("bookworm", "debian:bookworm")
    assert commands(host.scripts[0]) == [3, 3]
    assert "--force-depends --install" in host.scripts[0]


def test_a_failed_installation_leaves_nothing(builder: Builder, host: MemoryHost) -> None:
    host.exit_code = 1
    with pytest.raises(HostFailed, match="exit code 1: dpkg: error processing x"):
        builder.debian("bookworm", "debian:bookworm")
    assert not host.images
    assert not host.containers


def test_include(builder: Builder, host: MemoryHost) -> None:
    recipe = Recipe("bookworm", ("nginx",), Settings(("nginx", "-g"), exposed=("80/tcp",)))
    assert builder.include("debian:bookworm", "web:1", recipe)
    assert not builder.include("debian:bookworm", "web:1", recipe)
    assert commands(host.scripts[1]) == [2]  # libc6 is in the base
    assert "apt-mark auto nginx-common" in host.scripts[1]
    assert host.changes[:2] == ['CMD ["nginx", "-g"]', "EXPOSE 80/tcp"]
    assert set(host.images) == {"debian:bookworm", "web:1"}


def test_an_unknown_package_is_refused_before_anything_is_made(builder: Builder, host: MemoryHost) -> None:
    with pytest.raises(NotFound, match="no such Debian package: ngimx"):
        builder.include("debian:bookworm", "web:1", Recipe("bookworm", ("ngimx",)))
    assert not host.images


def test_changes_clear_the_scripts_command() -> None:
    assert plan_changes(Settings()) == ['CMD ["bash"]']
    assert plan_changes(Settings(environment=("A=x $y",))) == ['CMD ["bash"]', "ENV A='x $y'"]
    assert plan_changes(Settings(environment=("A=it's $y",)))[1] == 'ENV A="it\'s \\$y"'


@pytest.mark.parametrize("text", [ENTRYPOINT])
def test_shell_of_the_recipes_parses(text: str) -> None:
    subprocess.run(["sh", "-n"], input=text, text=True, check=True, timeout=10)


def test_scripts_parse(builder: Builder, host: MemoryHost) -> None:
    builder.debian("bookworm", "debian:bookworm")
    builder.include(
        "debian:bookworm", "m:1", Recipe("bookworm", ("nginx",), files=RECIPES["mariadb"].files, finish="true")
    )
    for script in host.scripts:
        subprocess.run(["sh", "-n"], input=script, text=True, check=True, timeout=10)
        assert shlex.quote("/etc/mysql/mariadb.conf.d/99-container.cnf") in script or script is host.scripts[0]


def test_a_chunk_reader_gives_exact_sizes() -> None:
    reader = ChunkReader(iter([b"ab", b"cde", b"f"]))
    assert [reader.read(1), reader.read(3), reader.read(), reader.read(1)] == [b"a", b"bcd", b"ef", b""]
