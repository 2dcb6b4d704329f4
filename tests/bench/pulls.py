"""`pull` of some 150 MB (compressed) from a registry on the loopback: of one layer, and of ten.

The layers hold this machine's own programs and libraries: files of the usual number and size.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.behaviour.images.layouts import Layout
from tests.behaviour.images.registry_process import RegistryProcess
from tests.bench.contenders import Contender
from tests.bench.figures import Promise, Result
from tests.bench.processes import run
from tests.bench.timing import interleave, milliseconds

#: Uncompressed; gzip at its quickest makes some 40 % of it.
_SIZE = 360 << 20
_SOURCES = ("/usr/lib", "/usr/bin", "/usr/share")
_IMAGES = {"one layer": 1, "ten layers": 10}
#: Only podman wants to be told that a registry on the loopback speaks plain HTTP.
_PLAIN_HTTP = {"podman": ("--tls-verify=false",)}
#: A round moves more than a gigabyte.
_MOST_ROUNDS = 5


def measure_pull(contenders: Sequence[Contender], rounds: int) -> Result:
    """From the command line's exec to its exit; the images are removed, and the disk is quiet, before each."""
    with tempfile.TemporaryDirectory(prefix="hostvm-bench-registry-") as place:
        folder = Path(place) / "registry"
        folder.mkdir()
        with RegistryProcess(folder) as registry:
            names = {title: _publish(Path(place), registry, title, count) for title, count in _IMAGES.items()}
            measures = {
                f"{contender.name}, {title}": _pulling(contender, name)
                for title, name in names.items()
                for contender in contenders
            }
            samples = interleave(measures, min(rounds, _MOST_ROUNDS))
    result = Result("pull", "pull of 150 MB", "ms", samples, ())
    return Result("pull", result.title, "ms", samples, list(_promises(result)))


def _promises(result: Result) -> Iterator[Promise]:
    for title in _IMAGES:
        ours, theirs = f"hostvm, {title}", f"docker, {title}"
        if ours in result.samples and theirs in result.samples:
            ratio = result.median(ours) / result.median(theirs)
            yield Promise(f"pull, {title}, hostvm against docker", ratio, at_most=0.5)


def _pulling(contender: Contender, name: str) -> Callable[[], float]:
    pull = contender.command("pull", "-q", *_PLAIN_HTTP.get(contender.name, ()), name)

    def measure() -> float:
        subprocess.run(
            contender.command("rmi", name), env=contender.environment, capture_output=True, check=False
        )  # not there in the first round
        run(["sync"])
        return milliseconds(pull, contender.environment)

    return measure


def _publish(place: Path, registry: RegistryProcess, title: str, count: int) -> str:
    layout = Layout(place / title.replace(" ", "-"))
    image = layout.finish(layout.put_image(*_layers(count), kind="gzip -1"))
    name = f"{title.partition(' ')[0]}:1"
    registry.push(image, name)
    return f"{registry.address}/{name}"


def _layers(count: int) -> Iterator[bytes]:
    """Tars of about the same size; together `_SIZE`."""
    paths = _files()
    for _ in range(count):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            while buffer.tell() < _SIZE // count:
                path = next(paths)
                archive.add(path, path.lstrip("/"), recursive=False)
        yield buffer.getvalue()


def _files() -> Iterator[str]:
    for source in _SOURCES:
        for folder, _folders, names in os.walk(source):
            for name in sorted(names):
                path = f"{folder}/{name}"
                if os.path.isfile(path) and not os.path.islink(path):
                    yield path
