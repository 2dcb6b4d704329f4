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
    "busybox": tuple(
        "busybox:latest busybox:1.27.0.2 busybox:1.27.2 busybox:1.31.0-uclibc alpine:latest alpine:edge alpine:3.10 "
        "alpine:3.10.1 alpine:3.12 hello-world:latest postgres:latest ubuntu:latest".split()
    ),
    "stack": ("python:3.13-alpine", "python:3.14-alpine"),
}
#: What busybox has to say for some of them.
SAYING = {
    "hello-world:latest": 'CMD ["echo", "Hello from Docker!"]',
    **dict.fromkeys(
        ("nginx:latest", "nginx:alpine-slim", "nginx:1.25.4-alpine-slim"),
        'RUN mkdir /www && echo "Welcome to nginx!" >/www/index.html\nEXPOSE 80\nCMD ["httpd", "-f", "-h", "/www"]',
    ),
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
    for name, lines in SAYING.items():
        docker(contender, "build", "--quiet", "--tag", name, "-", stdin=f"FROM busybox\n{lines}\n".encode())


def docker(contender: Docker | Hostvm, *words: str, stdin: bytes = b"") -> str:
    return run(["/usr/bin/docker", *words], {**contender.environment, "DOCKER_HOST": contender.address}, stdin)


def folder(scratch: str, name: str) -> Path:
    place = Path(scratch) / name
    place.mkdir(parents=True)
    return place
