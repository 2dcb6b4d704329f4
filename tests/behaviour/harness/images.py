"""Images for the tests, bootstrapped once from Debian's packages and kept as archives; each engine loads what it needs.

`python -m tests.behaviour.harness.images` makes those that are missing. An archive is the export of a container with
the image's settings beside it: one layer, in the form that `docker save` has (moby, image/spec/v1.2.md).
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from typing import IO, Any, NamedTuple

from tests.behaviour.harness.machine import DOCKER, HOSTVM
from tests.behaviour.harness.native import NativeMachine

ROOT = os.path.normpath(f"{os.path.dirname(os.path.abspath(__file__))}/../../..")


class Recipe(NamedTuple):
    """`name` is the image's; `words` are arguments of `hostvm bootstrap`."""

    name: str
    words: tuple[str, ...]


#: What the services of a project of compose run: each another program of the same image.
STACK = "python3,python-is-python3,python3-pymysql,python3-redis,redis-server,nginx-light"
#: The other one of the two architectures that images are made for: uname's machine, and docker's platform.
FOREIGN_MACHINE, FOREIGN_PLATFORM = (
    ("x86_64", "linux/amd64") if os.uname().machine == "aarch64" else ("aarch64", "linux/arm64")
)
#: Name in the tests -> how it is made.
RECIPES = {
    "busybox": Recipe("busybox", ("busybox",)),
    "debian": Recipe("debian:bookworm", ("debian:bookworm",)),
    "foreign": Recipe("foreign", ("busybox", "--platform", FOREIGN_PLATFORM, "--tag", "foreign")),
    "mariadb": Recipe("mariadb", ("mariadb",)),
    "stack": Recipe("stack", ("debian:bookworm", "--include", STACK, "--tag", "stack")),
}
#: Seconds after which the archives of another builder are thrown away: other trees may share the folder.
STALE = 24 * 3600


def archive(name: str) -> str:
    """The path of an image's archive; another one when the code that builds images has changed."""
    return f"{ROOT}/.cache/images/{_builder_digest()}/{name}.tar"


def _builder_digest() -> str:
    digest = hashlib.sha256()
    for folder, folders, files in os.walk(f"{ROOT}/vm_images"):
        folders[:] = sorted(set(folders) - {"guest"})  # which makes the VM's own image
        for name in sorted(file for file in files if file.endswith(".py")):
            with open(f"{folder}/{name}", "rb") as file:
                digest.update(file.read())
    return digest.hexdigest()[:16]


def build_missing() -> None:
    """Makes what isn't there, in an engine that lives as long as this call; others wait meanwhile.

    MUST be called before this process leaves the host's network: packages are fetched.
    """
    if not find_missing():
        return  # whoever has the lock may be busy with another tree's for long
    os.makedirs(f"{ROOT}/.cache", exist_ok=True)
    with open(f"{ROOT}/.cache/images.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if missing := find_missing():
            _build(missing)


def find_missing() -> list[str]:
    return [name for name in RECIPES if not os.path.exists(archive(name))]


def _build(missing: list[str]) -> None:
    remove_stale()
    os.makedirs(os.path.dirname(archive("any")), exist_ok=True)
    # In memory: dpkg waits for the disk after every package.
    folder = tempfile.mkdtemp(prefix="hv-", dir="/dev/shm")
    machine = NativeMachine(f"{folder}/m", "hvtimages")
    # In a network namespace of its own; only the command line, which fetches the packages, is outside.
    subprocess.run(["unshare", "--net", HOSTVM, "machine", "start"], env=machine.environment, check=True)
    try:
        for name in missing:
            subprocess.run([HOSTVM, "bootstrap", *RECIPES[name].words], env=machine.environment, check=True)
            keep(machine, RECIPES[name].name, archive(name))
    finally:
        machine.stop()
        shutil.rmtree(folder)


def remove_stale() -> None:
    for folder in glob.glob(f"{ROOT}/.cache/images/*/"):
        if time.time() - os.path.getmtime(folder) > STALE and folder != os.path.dirname(archive("any")) + "/":
            shutil.rmtree(folder)


def keep(machine: NativeMachine, image: str, path: str) -> None:
    """Writes an archive; half a one never gets the name."""
    container = machine("create", image)
    (seen,) = json.loads(machine("image", "inspect", image))
    with open(f"{path}.layer", "w+b") as layer:
        subprocess.run([DOCKER, "export", container], env=machine.environment, stdout=layer, check=True)
        layer.seek(0)
        with tarfile.open(f"{path}.unfinished", "w") as tar:
            for name, content in describe(image, seen, hashlib.file_digest(layer, "sha256").hexdigest()).items():
                add_file(tar, name, len(content), io.BytesIO(content))
            layer.seek(0)
            add_file(tar, "layer.tar", os.fstat(layer.fileno()).st_size, layer)
    machine("rm", container)
    os.unlink(f"{path}.layer")
    os.replace(f"{path}.unfinished", path)


def describe(image: str, seen: dict[str, Any], diff_id: str) -> dict[str, bytes]:
    """The archive's two documents, from what `image inspect` shows."""
    configuration = {
        "architecture": seen["Architecture"],
        "os": seen["Os"],
        "created": seen["Created"],
        "config": seen["Config"],
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
    }
    tag = image if ":" in image else f"{image}:latest"
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]
    return {"manifest.json": json.dumps(manifest).encode(), "config.json": json.dumps(configuration).encode()}


def add_file(tar: tarfile.TarFile, name: str, size: int, content: IO[bytes]) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = size
    tar.addfile(entry, content)


if __name__ == "__main__":
    build_missing()
