"""Builds images: the doing half. Everything that it leaves behind is an image with its name, or nothing.

An image carries a label with the digest of what it was made from (packages with their checksums, settings, this
code's version): where an engine has the image with that label, there is nothing to do.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from typing import IO

from guest_agent.wire.errors import HostFailed, PeerMisbehaved
from vm_images import busybox, normalise, rootfs
from vm_images.archive_file import Layer, Settings, encode_archive, encode_config, hash_layer
from vm_images.chunks import ChunkReader
from vm_images.debian.archive import Archive
from vm_images.debian.deb import open_data
from vm_images.debian.download import Progress
from vm_images.debian.packages import Package
from vm_images.debian.resolver import Selection, closure, find_package, plan_batches, resolve
from vm_images.host import ImageHost
from vm_images.install_script import PACKAGES, base_script, include_script
from vm_images.recipes import BUSYBOX_RELEASE, Recipe
from vm_images.sbom import MEDIA_TYPE, Subject, encode_sbom
from vm_images.tree import Tree

#: Where an image says what it was made from.
INPUTS_LABEL = "org.hostvm.bootstrap.inputs"
#: Counts up when the same packages give another image.
_BUILDER = 2

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OUTPUT_TAIL = 2000  #: bytes of a failed installation's output that the error carries


class Builder:
    """Makes images of one archive in one engine, each with its SBOM beside it.

    `used` are the packages of all that it made or found made, `sboms` their documents by the image's name. Where
    nothing but an earlier run's note says that an image is up to date they stay empty; with `thorough` no note counts.
    """

    def __init__(self, archive: Archive, host: ImageHost, progress: Progress, thorough: bool = False) -> None:
        self.used: Selection = {}
        self.sboms: dict[str, bytes] = {}
        self._archive = archive
        self._host = host
        self._progress = progress
        self._thorough = thorough

    # -- busybox

    def busybox(self, reference: str) -> bool:
        """Makes the image; False where the engine has it already."""
        key = _digest("busybox", {})
        if self._is_known(reference, key):
            return False
        package = find_package(self._archive.catalogue, busybox.PACKAGE)
        label = _label("busybox", [package], {})
        self._describe(reference, label, [package], BUSYBOX_RELEASE)
        return self._provide(reference, key, label, lambda: self._make_busybox(reference, label, package))

    def _make_busybox(self, reference: str, label: str, package: Package) -> None:
        self._archive.fetch([package])
        with self._tree() as tree, open_data(self._archive.path(package)) as data:
            busybox.fill(tree, data)
            self._load(reference, tree, _labelled(Settings(("sh",), environment=(_PATH,)), label), "busybox")

    # -- Debian

    def debian(self, codename: str, reference: str, slim: bool = False) -> bool:
        """Makes a release's base image, of one layer; False where the engine has it already."""
        recipe = Recipe(codename, slim=slim)
        key = _digest(recipe.base, {})
        if self._is_known(reference, key):
            return False
        system = self._minimal_system()
        label = _label(recipe.base, system.values(), {})
        self._describe(reference, label, system.values(), codename)
        return self._provide(reference, key, label, lambda: self._make_debian(reference, label, recipe, system))

    def _make_debian(self, reference: str, label: str, recipe: Recipe, system: Selection) -> None:
        self._archive.fetch(system.values())
        with (
            self._unpacked(system, label) as temporary,
            self._container(temporary, self._base_script(system)) as container,
        ):
            self._install(container, reference)
            with self._tree() as tree, _open_export(self._host.export(container)) as exported:
                normalise.fill(tree, exported, recipe.release, recipe.slim)
                settings = Settings(("bash",), environment=(_PATH,))
                self._load(reference, tree, _labelled(settings, label), recipe.base)

    def _minimal_system(self) -> Selection:
        """debootstrap's minbase. usr-is-merged keeps usrmerge, which needs all of perl, out of it."""
        catalogue = self._archive.catalogue
        named = [find_package(catalogue, "apt")]
        if merged := catalogue.candidate("usr-is-merged"):
            named.append(merged)
        return resolve(catalogue, [*named, *catalogue.minimal()])

    def _essential(self, system: Selection) -> Selection:
        """The packages that dpkg and every maintainer script may take for granted."""
        return closure([package for package in system.values() if package.essential], system)

    def _base_script(self, system: Selection) -> str:
        essential = self._essential(system)
        batches = plan_batches(list(system.values()), essential)
        return base_script(list(essential.values()), batches, self._archive.epoch)

    @contextmanager
    def _unpacked(self, system: Selection, label: str) -> Iterator[str]:
        """The essential packages' files as an image that goes when the work is done. Its name."""
        essential = self._essential(system)
        automatic = {it.name for it in system.values() if not (it.essential or it.required)} - {"apt", "usr-is-merged"}
        reference = f"hostvm-bootstrap:{label[:12]}"
        architecture = self._archive.architecture
        with ExitStack() as undo:
            undo.callback(self._host.remove_image, reference)
            with self._tree(rootfs.merged_usr(architecture)) as tree:
                paths = [self._archive.path(package) for package in essential.values()]
                rootfs.fill(tree, paths, architecture, automatic - set(essential))
                self._load(reference, tree, Settings(("sh",), environment=(_PATH,)), "essential packages, unpacked")
            yield reference

    # -- packages over a base

    def include(self, base: str, reference: str, recipe: Recipe) -> bool:
        """Makes an image of `base` and one layer with the recipe's packages; False where the engine has it already.

        `base` is the release's base image, made or renewed where the packages have to be installed.
        """
        key = _digest(recipe.release, asdict(recipe))
        if self._is_known(reference, key):
            return False
        system = self._minimal_system()
        catalogue = self._archive.catalogue
        chosen = resolve(catalogue, [find_package(catalogue, name) for name in recipe.packages], system)
        label = _label(recipe.release, chosen.values(), asdict(recipe))
        self._describe(reference, label, chosen.values(), recipe.release)
        added = [package for name, package in chosen.items() if name not in system]
        return self._provide(
            reference, key, label, lambda: self._make_included(reference, label, recipe, base, added, system)
        )

    def _make_included(
        self, reference: str, label: str, recipe: Recipe, base: str, added: Sequence[Package], system: Selection
    ) -> None:
        self.debian(recipe.release, base, recipe.slim)
        self._archive.fetch(added)
        batches = plan_batches(added, system)
        script = include_script(batches, recipe.packages, self._archive.epoch, recipe.files, recipe.finish)
        with self._container(base, script) as container:
            self._install(container, reference)
            self._progress.note(f"Committing {reference}")
            changes = plan_changes(_labelled(recipe.settings, label))
            self._host.commit(container, reference, changes, self._archive.epoch)

    def discard(self, reference: str) -> None:
        """Takes away the name of an image that was needed for another one only."""
        self._host.remove_image(reference)

    # -- the steps that they share

    def _is_known(self, reference: str, key: str) -> bool:
        """Whether an earlier run from these same package lists made the image: no list has to be read for that."""
        if self._thorough:
            return False
        label = self._archive.recall(key)
        return bool(label) and self._is_present(reference, label)

    def _describe(self, reference: str, label: str, packages: Iterable[Package], release: str) -> None:
        found = list(packages)
        self.used.update((package.name, package) for package in found)
        subject = Subject(reference, release, self._archive.architecture, self._archive.epoch, label)
        self.sboms[reference] = encode_sbom(subject, found)

    def _provide(self, reference: str, key: str, label: str, make: Callable[[], None]) -> bool:
        """Makes what isn't there. The SBOM goes beside it anyhow: a run that was ended may have left it without.

        Only then is there a note for `_is_known`.
        """
        missing = not self._is_present(reference, label)
        if missing:
            make()
        self._host.attach(reference, MEDIA_TYPE, self.sboms[reference])
        self._archive.remember(key, label)
        return missing

    def _is_present(self, reference: str, label: str) -> bool:
        labels = self._host.find_labels(reference)
        return labels is not None and labels.get(INPUTS_LABEL) == label

    @contextmanager
    def _tree(self, aliases: Sequence[tuple[str, str]] = ()) -> Iterator[Tree]:
        with tempfile.TemporaryFile(dir=self._archive.fetcher.cache) as spool:
            yield Tree(spool, self._archive.epoch, aliases)

    def _load(self, reference: str, tree: Tree, settings: Settings, what: str) -> None:
        self._progress.note(f"Loading {reference}")
        with tempfile.NamedTemporaryFile(dir=self._archive.fetcher.cache) as file:
            layer = _write_layer(tree, file)
            architecture, created_by = self._archive.architecture, f"hostvm bootstrap # {what}"
            config = encode_config(architecture, self._archive.epoch, settings, layer, created_by)
            self._host.load(encode_archive(reference, config, layer))

    @contextmanager
    def _container(self, image: str, script: str) -> Iterator[str]:
        container = self._host.create(image, ("/bin/sh", "-c", script), self._archive.fetcher.store, PACKAGES)
        try:
            yield container
        finally:
            self._host.remove_container(container)

    def _install(self, container: str, reference: str) -> None:
        """Raises HostFailed with the last of dpkg's words."""
        output = _Output(self._progress.note)
        self._progress.note(f"Installing packages for {reference}")
        code = self._host.run(container, output.feed)
        if code:
            raise HostFailed(
                f"installing the packages of {reference} failed with exit code {code}: {output.reason()}",
                f"the last lines of its output were:\n{output.tail()}",
            )


class _Output:
    """The last of what a container wrote."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._data = b""

    def feed(self, data: bytes) -> None:
        self._data = (self._data + data)[-_OUTPUT_TAIL:]

    def tail(self) -> str:
        return self._data.decode("utf-8", "replace").strip()

    def reason(self) -> str:
        lines = self.tail().splitlines()
        return next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "no output")


def _write_layer(tree: Tree, file: IO[bytes]) -> Layer:
    tree.write(file)
    file.flush()
    return hash_layer(file.name)


@contextmanager
def _open_export(chunks: Iterator[bytes]) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(fileobj=ChunkReader(chunks), mode="r|") as archive:
            yield archive
    except tarfile.TarError as error:
        raise PeerMisbehaved(f"the engine's export of a container can't be read: {error}") from error


def _labelled(settings: Settings, label: str) -> Settings:
    return replace(settings, labels={**settings.labels, INPUTS_LABEL: label})


def _label(what: str, packages: Iterable[Package], more: Mapping[str, object]) -> str:
    """The digest of everything that an image depends on."""
    sums = sorted((it.name, it.version, it.sha256) for it in packages)
    return _digest(what, sums, more)


def _digest(*values: object) -> str:
    return hashlib.sha256(json.dumps([_BUILDER, *values], sort_keys=True).encode()).hexdigest()


def plan_changes(settings: Settings) -> list[str]:
    """Settings as the lines that `commit` takes.

    CMD is always there: a commit takes the container's own otherwise, which is our script.
    """
    command = settings.command if settings.command is not None else ("bash",)
    changes = [f"CMD {json.dumps(list(command))}"]
    if settings.entrypoint is not None:
        changes.append(f"ENTRYPOINT {json.dumps(list(settings.entrypoint))}")
    changes += [f"ENV {name}={_quote(value)}" for name, _, value in (it.partition("=") for it in settings.environment)]
    changes += [f"EXPOSE {port}" for port in settings.exposed]
    if settings.volumes:
        changes.append(f"VOLUME {json.dumps(list(settings.volumes))}")
    changes += [f"WORKDIR {settings.working_dir}"] * bool(settings.working_dir)
    changes += [f"USER {settings.user}"] * bool(settings.user)
    return changes + [f"LABEL {name}={_quote(value)}" for name, value in settings.labels.items()]


def _quote(value: str) -> str:
    """A value as a Dockerfile's parser reads it back: in single quotes nothing is special but their own end."""
    if "'" not in value:
        return f"'{value}'"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def cache_folder(environment: Mapping[str, str], default: str) -> str:
    """The download cache: HOSTVM_CACHE, or `default`, made where it is missing. Raises HostFailed."""
    path = os.path.join(environment.get("HOSTVM_CACHE") or default, "debian")
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise HostFailed(
            f"cannot make the cache {path}: {error.strerror}", "HOSTVM_CACHE names another folder"
        ) from error
    return path
