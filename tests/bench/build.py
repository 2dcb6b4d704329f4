"""`python -m tests.bench.build [--rounds N] [--only NAME,...]`: a project of ten steps, built by all three.

Three measures of one build: cold (nothing of it is in the cache), one line of a source file changed, and nothing
changed. docker is Debian's with the classic builder; buildah is Debian's with `--layers`. All start from the same
debian:bookworm; there is no network, so that no mirror is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from functools import partial

from tests.behaviour.harness.images import archive
from tests.bench.conditions import enter_conditions, in_front
from tests.bench.contenders import Docker, Hostvm
from tests.bench.figures import Result, keep, show
from tests.bench.processes import end_all_that_name, run
from tests.bench.scenarios import ratio_promises, wait_until_idle
from tests.bench.timing import interleave, milliseconds

RESULTS = ".cache/bench"
BASE = "debian:bookworm"
SOURCES, ASSETS = 300, 40

DOCKERFILE = f"""
FROM {BASE}
ENV LANG=C.UTF-8 APP_HOME=/srv/app
RUN groupadd --system app && useradd --system --gid app --home-dir /srv/app app
WORKDIR /srv/app
COPY requirements.txt ./
RUN mkdir vendor && while read -r name; do cp -a "/usr/share/$name" "vendor/"; done < requirements.txt
COPY assets/ assets/
RUN tar -czf assets.tar.gz assets && rm -r assets
COPY src/ src/
RUN cat src/*.py | sed 's/^#.*//' > bundle.py && sha256sum bundle.py > bundle.sum
RUN chown -R app:app /srv/app
USER app
CMD ["cat", "/srv/app/bundle.sum"]
"""


class Buildah:
    """Debian's buildah with crun; it has no daemon."""

    name = "buildah"

    def __init__(self, scratch: str) -> None:
        self._scratch = f"{scratch}/buildah"
        self.environment = {**os.environ, "TMPDIR": self._scratch}

    def start(self) -> None:
        os.makedirs(self._scratch)
        layer = _extract_layer(self._scratch)
        container = run(self._command("from", "scratch"), self.environment)
        run(self._command("add", container, layer, "/"), self.environment)
        run(self._command("commit", "--rm", container, f"docker.io/library/{BASE}"), self.environment)

    def stop(self) -> None:
        end_all_that_name(self._scratch)

    def build(self, folder: str, *words: str) -> list[str]:
        isolated = ("--isolation", "oci", "--runtime", "crun", "--pull-never", "--ulimit", "nofile=1000:1000")
        return self._command("bud", "--layers", *isolated, *words, "-t", "app", folder)

    def _command(self, *words: str) -> list[str]:
        places = ("--root", f"{self._scratch}/root", "--runroot", f"{self._scratch}/run")
        return ["buildah", *places, "--storage-driver", "overlay", *words]


def _extract_layer(folder: str) -> str:
    """The base's root file system: buildah refuses the archive itself, whose configuration has no history."""
    with tarfile.open(archive("debian")) as whole:
        manifest = whole.extractfile("manifest.json")
        assert manifest is not None
        name = json.load(manifest)[0]["Layers"][0]
        whole.extract(name, folder)
    return f"{folder}/{name}"


class DockerBuilds:
    """The classic builder of docker 20.10."""

    name = "docker"

    def __init__(self, scratch: str) -> None:
        self._docker = Docker(scratch)
        self.environment = {**self._docker.environment, "DOCKER_BUILDKIT": "0"}

    def start(self) -> None:
        self._docker.begin()
        run(self._docker.command("load", "-i", archive("debian")), self.environment)

    def stop(self) -> None:
        self._docker.stop()

    def build(self, folder: str, *words: str) -> list[str]:
        return self._docker.command("build", *words, "-t", "app", folder)


class HostvmBuilds:
    """Our own."""

    name = "hostvm"

    def __init__(self, scratch: str) -> None:
        self._hostvm = Hostvm(scratch)
        self.environment = self._hostvm.environment

    def start(self) -> None:
        os.makedirs(os.path.dirname(self.environment["HOSTVM_DATA"]), exist_ok=True)
        run(self._hostvm.command("load", "-i", archive("debian")), self.environment)

    def stop(self) -> None:
        end_all_that_name(os.path.dirname(self.environment["HOSTVM_DATA"]))

    def build(self, folder: str, *words: str) -> list[str]:
        return self._hostvm.command("build", *words, "-t", "app", folder)


Builder = Buildah | DockerBuilds | HostvmBuilds


def make_project(folder: str) -> None:
    """Some hundred small files, and a few larger ones."""
    for name in ("src", "assets"):
        os.makedirs(f"{folder}/{name}")
    _write(f"{folder}/Dockerfile", DOCKERFILE)
    _write(f"{folder}/requirements.txt", "perl5\ncommon-licenses\nbase-files\n")
    for number in range(SOURCES):
        _write(f"{folder}/src/module_{number}.py", f"# module {number}\n" + f"def f_{number}():\n    return 1\n" * 60)
    for number in range(ASSETS):
        _write(f"{folder}/assets/picture_{number}.svg", f"<svg>{number}</svg>\n" * 8000)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def measure(builders: list[Builder], folder: str, rounds: int) -> Iterator[Result]:
    """Cold, changed, cached; never slower, never slower, five times faster."""
    yield _judged(_measure("cold", builders, rounds, lambda one: _timed(one, folder, "--no-cache")), 1.0)
    yield _judged(_measure("changed", builders, rounds, lambda one: _timed_change(one, folder)), 1.0)
    yield _judged(_measure("cached", builders, rounds * 3, lambda one: _timed(one, folder)), 5.0)


def _measure(name: str, builders: list[Builder], rounds: int, action: Callable[[Builder], float]) -> Result:
    samples = interleave({one.name: partial(action, one) for one in builders}, rounds)
    return Result(f"build-{name}", f"build of ten steps, {name}", "ms", samples, ())


def _timed(builder: Builder, folder: str, *words: str) -> float:
    wait_until_idle()
    return milliseconds(builder.build(folder, *words), builder.environment)


def _timed_change(builder: Builder, folder: str) -> float:
    """One line of one source file; everything behind its COPY has to be made again."""
    run(builder.build(folder), builder.environment)
    with open(f"{folder}/src/module_7.py", "a", encoding="utf-8") as file:
        file.write("changed = True\n")
    return _timed(builder, folder)


def _judged(result: Result, at_least: float) -> Result:
    if "hostvm" not in result.samples:
        return result
    theirs = {name: result.median(name) for name in result.samples if name != "hostvm"}
    promises = ratio_promises(result.title, result.median("hostvm"), theirs, at_least)
    return Result(result.name, result.title, result.unit, result.samples, promises)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench build", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="hostvm,docker,buildah", help="contenders, by default all")
    arguments = parser.parse_args()
    enter_conditions()
    scratch = tempfile.mkdtemp(prefix="hostvm-bench-")
    kinds = (HostvmBuilds, DockerBuilds, Buildah)
    builders: list[Builder] = [kind(scratch) for kind in kinds if kind.name in arguments.only.split(",")]
    try:
        make_project(f"{scratch}/project")
        with in_front():
            kept = _measure_all(builders, f"{scratch}/project", arguments.rounds)
    finally:
        run(["sh", "-c", 'umount --recursive --lazy "$1"/*/*/* 2>/dev/null; true', "sh", scratch])
        shutil.rmtree(scratch, ignore_errors=True)
    return 0 if all(kept) else 1


def _measure_all(builders: list[Builder], project: str, rounds: int) -> list[bool]:
    """Whether each promise is kept; the engines are started, and end."""
    begun: list[Builder] = []
    try:
        for builder in builders:
            begun.append(builder)
            builder.start()
        return [_tell(result) for result in measure(builders, project, rounds)]
    finally:
        for builder in begun:
            builder.stop()


def _tell(result: Result) -> bool:
    """At once, since the next one takes its time: whether its promises are kept."""
    show(result)
    keep(result, RESULTS)
    return all(promise.kept for promise in result.promises)


if __name__ == "__main__":
    raise SystemExit(main())
