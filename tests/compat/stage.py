"""What the suites find in an engine: the images that they name, and a registry that has them too.

There is no way out to a hub from where the engines run. busybox stands for all small images; a registry on loopback is
the hub's mirror for both engines.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.behaviour.harness import images
from tests.behaviour.images.registry_process import RegistryProcess
from tests.bench.contenders import Docker, Hostvm
from tests.bench.processes import run

#: Archive of the tests' own images -> the names that suites know it by.
NAMES = {
    "busybox": (
        *("busybox:latest", "busybox:1.27.0.2", "busybox:1.27.2", "busybox:1.31.0-uclibc"),
        *("alpine:latest", "alpine:edge", "alpine:3.10", "alpine:3.10.1", "alpine:3.12", "hello-world:latest"),
    ),
    "stack": ("python:3.13-alpine", "python:3.14-alpine"),
}


def fill_registry(registry: RegistryProcess) -> None:
    for archive, names in NAMES.items():
        for name in names:
            target = f"docker://{registry.address}/library/{name}"
            source = f"docker-archive:{images.archive(archive)}"
            argv = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", source, target]
            subprocess.run(argv, check=True)


def give_images(contender: Docker | Hostvm) -> None:
    """As an archive, by the docker command line: each engine takes it the same way."""
    for archive, names in NAMES.items():
        docker(contender, "load", "--quiet", "--input", images.archive(archive))
        for name in names:
            docker(contender, "tag", images.RECIPES[archive].name, name)


def docker(contender: Docker | Hostvm, *words: str) -> str:
    return run(["/usr/bin/docker", *words], {**contender.environment, "DOCKER_HOST": contender.address})


def folder(scratch: str, name: str) -> Path:
    place = Path(scratch) / name
    place.mkdir(parents=True)
    return place
