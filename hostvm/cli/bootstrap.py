"""`hostvm bootstrap`: base images from Debian's packages, where no registry answers or none is wanted.

What is built, and how, is in `vm_images`; here are the options, the progress on the terminal, and the engine as the
builder needs it.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import platformdirs
import typer

from guest_agent.wire.errors import HostvmError, InvalidArgument, NotFound
from hostvm.cli.bootstrap_progress import open_bootstrap_progress
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_error, write_out
from hostvm.cli.pulling import stream_error
from hostvm.cli.query import escape, with_query
from hostvm.client.connection import Engine
from hostvm.machines.connect import connect
from hostvm.machines.mirror import read_mirror
from hostvm.settings import read_settings
from vm_images.archive_file import Settings as ImageSettings
from vm_images.build import Builder, cache_folder
from vm_images.debian.apt_settings import read_apt_settings
from vm_images.debian.archive import Archive, Trust, debian_architecture, open_archive
from vm_images.debian.download import Fetcher, Progress
from vm_images.debian.locked import plan_places
from vm_images.debian.repositories import RELEASES, find_release, plan_repositories
from vm_images.documents import write_document
from vm_images.package_lock import PackageLock, encode_lock, find_lock, plan_lock
from vm_images.pinned import PinnedArchive
from vm_images.recipes import BUSYBOX_RELEASE, RECIPES, SLIM, Recipe

_REFERENCE = re.compile(r"([a-z0-9.-]+(:\d+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:[\w][\w.-]{0,127})?", re.ASCII)
_PORT = re.compile(r"(\d{1,5})(/(tcp|udp|sctp))?", re.ASCII)

app = typer.Typer(help="Make a base image from Debian's packages.", add_completion=False)

_IMAGE = typer.Argument(help="busybox, debian:RELEASE, or a recipe (see --list).", show_default=False)
_LIST = typer.Option("--list", help="List what can be made, and quit.")
_INCLUDE = typer.Option("--include", help="Debian packages to install as well.", metavar="PACKAGE,...")
_TAG = typer.Option("--tag", "-t", help="The image's name.", metavar="NAME[:TAG]")
_CMD = typer.Option("--cmd", help="The default command, as a shell would split it.", metavar="COMMAND")
_ENTRYPOINT = typer.Option("--entrypoint", help="The entry point, as a shell would split it.", metavar="COMMAND")
_ENV = typer.Option("--env", "-e", help="Set an environment variable.", metavar="NAME=VALUE")
_EXPOSE = typer.Option("--expose", help="A port that the image serves.", metavar="PORT[/udp]")
_LOCK = typer.Option("--lock", help="Make it of this file's packages, or write them there.", metavar="FILE")
_SBOM = typer.Option("--sbom", help="Write its list of packages (SPDX) to this file, too.", metavar="FILE")
_PLATFORM = typer.Option("--platform", help="Make it for this platform (linux/arm64).", metavar="PLATFORM")
_VOLUME = typer.Option("--volume", "-v", help="A folder that becomes an anonymous volume.", metavar="PATH")


@app.callback(invoke_without_command=True, context_settings={"allow_interspersed_args": True})
def bootstrap(
    image: Annotated[str, _IMAGE] = "",
    list_all: Annotated[bool, _LIST] = False,
    include: Annotated[list[str] | None, _INCLUDE] = None,
    tag: Annotated[str, _TAG] = "",
    cmd: Annotated[str, _CMD] = "",
    entrypoint: Annotated[str, _ENTRYPOINT] = "",
    env: Annotated[list[str] | None, _ENV] = None,
    expose: Annotated[list[str] | None, _EXPOSE] = None,
    volume: Annotated[list[str] | None, _VOLUME] = None,
    for_platform: Annotated[str, _PLATFORM] = "",
    lock: Annotated[str, _LOCK] = "",
    sbom: Annotated[str, _SBOM] = "",
) -> None:
    """Make a base image from Debian's packages, verified by Debian's signature; no registry is needed.

    Examples: hostvm bootstrap busybox; hostvm bootstrap debian:bookworm --include nginx --tag nginx --expose 80
    """
    if list_all:
        write_out(render_list())
        return
    try:
        settings = parse_settings(cmd, entrypoint, env or [], expose or [], volume or [])
        packages = [name.strip() for word in include or [] for name in word.split(",") if name.strip()]
        _make(plan_image(image, tag, packages, settings), parse_architecture(for_platform), lock, sbom)
    except HostvmError as error:
        raise Failure(f"hostvm: {error.message}", 1, error.hint) from error


def render_list() -> str:
    """What --list prints."""
    rows = [("busybox", "one static binary with all its applets (Debian's busybox-static)")]
    rows += [
        (f"debian:{name}", f"Debian {aliases[0]}: the minimal system with apt") for name, aliases in RELEASES.items()
    ]
    rows += [(f"debian:RELEASE{SLIM}", "any of these without manuals and translations")]
    rows += [(name, recipe.summary) for name, recipe in RECIPES.items()]
    return "".join(f"{name:<20}{text}\n" for name, text in [("IMAGE", "CONTENTS"), *rows])


def parse_settings(
    cmd: str, entrypoint: str, env: Sequence[str], expose: Sequence[str], volume: Sequence[str]
) -> ImageSettings:
    """The options as the image's settings. Raises InvalidArgument."""
    for item in env:
        if not item.partition("=")[0] or "=" not in item:
            raise InvalidArgument(f"not an environment variable: {item!r}", "--env takes NAME=VALUE")
    for path in volume:
        if not path.startswith("/"):
            raise InvalidArgument(f"not a path in the image: {path!r}", "--volume takes an absolute path")
    return ImageSettings(
        command=_split(cmd),
        entrypoint=_split(entrypoint),
        environment=tuple(env),
        exposed=tuple(_parse_port(port) for port in expose),
        volumes=tuple(volume),
    )


def _split(text: str) -> tuple[str, ...] | None:
    try:
        return tuple(shlex.split(text)) or None
    except ValueError as error:
        raise InvalidArgument(f"not a command: {text!r}", str(error)) from error


def _parse_port(text: str) -> str:
    match = _PORT.fullmatch(text)
    if match is None or not 0 < int(match[1]) < 65536:
        raise InvalidArgument(f"invalid containerPort: {text}", "--expose takes a number, or a number with /udp")
    return f"{match[1]}/{match[3] or 'tcp'}"


def parse_tag(text: str) -> str:
    """An image's name with its tag. Raises InvalidArgument."""
    if not _REFERENCE.fullmatch(text):
        raise InvalidArgument(
            f"invalid reference format: {text!r}", "a name is in lower case, such as web or team/web:1.2"
        )
    return text if ":" in text.rpartition("/")[2] else f"{text}:latest"


def parse_architecture(text: str) -> str:
    """A platform (`linux/arm64`, `arm64`; "" = this machine's) as Debian's architecture. Raises Unsupported."""
    machine = text.lower().removeprefix("linux/").partition("/")[0]
    return debian_architecture(machine or platform.machine())


def _make(plan: Plan, architecture: str, lock_path: str, sbom_path: str) -> None:
    progress = open_bootstrap_progress()
    lock = find_lock(lock_path, plan.release, architecture)
    try:
        archive = _open_archive(plan.release, architecture, lock, progress)
        builder = Builder(archive, _open_host(), progress, thorough=bool(lock_path or sbom_path))
        made = _build(builder, plan) if lock is None else _build_locked(builder, plan, lock, lock_path)
    finally:
        progress.close()
    if lock_path and lock is None:
        write_document(lock_path, encode_lock(plan_lock(plan.release, archive, builder.used.values())).encode())
    if sbom_path:
        write_document(sbom_path, builder.sboms[plan.reference])
    write_error("" if made else f"{plan.reference} is up to date\n")
    write_out(f"{plan.reference}\n")


class Plan:
    """What to make. `recipe` is None for an image that is made at one go; `base` is what a recipe stands on."""

    __slots__ = ("base", "recipe", "reference", "release", "slim")

    def __init__(
        self, release: str, reference: str, base: str = "", recipe: Recipe | None = None, slim: bool = False
    ) -> None:
        self.slim = slim
        self.release = release
        self.reference = reference
        self.base = base
        self.recipe = recipe


def plan_image(image: str, tag: str, packages: Sequence[str], settings: ImageSettings) -> Plan:
    """The words of the command line as a plan. Raises InvalidArgument, NotFound."""
    name, _, version = image.partition(":")
    if not image:
        raise InvalidArgument("no image is named", "hostvm bootstrap --list shows what there is")
    if name in RECIPES and not version.removeprefix("latest"):
        return _plan_recipe(RECIPES[name], parse_tag(tag or name), packages, settings)
    extra = bool(packages) or settings != ImageSettings()
    if name == "busybox" and not version.removeprefix("latest"):
        if extra:
            raise InvalidArgument("busybox takes no packages and settings", "start from debian:bookworm")
        return Plan(BUSYBOX_RELEASE, parse_tag(tag or "busybox"))
    if name != "debian":
        raise _unknown(image)
    release, slim = find_release(version.removesuffix(SLIM)), version.endswith(SLIM)
    if not extra:
        return Plan(release, parse_tag(tag or image), base=parse_tag(tag or image), slim=slim)
    if not tag:
        raise InvalidArgument("an image with more than its base needs a name", "add --tag NAME")
    return _plan_recipe(Recipe(release, slim=slim), parse_tag(tag), packages, settings)


def _plan_recipe(recipe: Recipe, reference: str, packages: Sequence[str], settings: ImageSettings) -> Plan:
    base = recipe.base
    if reference == base:
        raise InvalidArgument(f"{base} is the name of the base image", "give another with --tag")
    names = tuple(dict.fromkeys([*recipe.packages, *packages]))
    full = replace(recipe, packages=names, settings=merge_settings(recipe.settings, settings))
    return Plan(recipe.release, reference, base, full)


def merge_settings(base: ImageSettings, more: ImageSettings) -> ImageSettings:
    """A recipe's settings with what the user adds, or says in their place."""
    return ImageSettings(
        command=more.command if more.command is not None else base.command,
        entrypoint=more.entrypoint if more.entrypoint is not None else base.entrypoint,
        environment=(*base.environment, *more.environment),
        exposed=tuple(dict.fromkeys([*base.exposed, *more.exposed])),
        volumes=tuple(dict.fromkeys([*base.volumes, *more.volumes])),
        working_dir=base.working_dir,
        user=base.user,
        labels=base.labels,
    )


def _unknown(name: str) -> NotFound:
    from hostvm.cli.suggest import closest

    near = closest(name.partition(":")[0], ["busybox", "debian", *RECIPES])
    hint = f"did you mean {near}? " if near else ""
    return NotFound(f"no such image to make: {name}", f"{hint}hostvm bootstrap --list shows what there is")


def _build(builder: Builder, plan: Plan) -> bool:
    """Whether anything had to be made."""
    if plan.recipe is not None:
        return builder.include(plan.base, plan.reference, plan.recipe)
    if plan.base:
        return builder.debian(plan.release, plan.reference, plan.slim)
    return builder.busybox(plan.reference)


def _build_locked(builder: Builder, plan: Plan, lock: PackageLock, path: str) -> bool:
    """A recipe's base has a passing name: `debian:RELEASE` stays what it is."""
    base = f"hostvm-base:{lock.digest[:12]}"
    if plan.recipe is not None:
        plan = Plan(plan.release, plan.reference, base, plan.recipe)
    try:
        return _build(builder, plan)
    except NotFound as error:
        hint = f"{path} doesn't have it; without that file today's packages are chosen"
        raise NotFound(error.message, hint) from error
    finally:
        if plan.base == base:
            builder.discard(base)


def _open_host() -> EngineHost:
    settings = read_settings(os.environb)
    return EngineHost(Engine(lambda: connect(settings)))


def _open_archive(release: str, architecture: str, lock: PackageLock | None, progress: Progress) -> Archive:
    settings = read_settings(os.environb)
    apt = read_apt_settings()
    mirror = os.environ.get("HOSTVM_DEBIAN_MIRROR") or read_mirror(settings.config)
    cache = cache_folder(os.environ, platformdirs.user_cache_dir("hostvm"))
    trust = Trust(os.environ.get("HOSTVM_DEBIAN_KEYRING", ""), apt.check_valid_until)
    repositories = plan_repositories(release, apt.sources, mirror)
    fetcher = Fetcher(cache, progress, apt.proxies)
    if lock is not None:
        return PinnedArchive(fetcher, lock, plan_places(repositories, lock.snapshot))
    return open_archive(fetcher, repositories, architecture, trust, progress)


class EngineHost:
    """`vm_images.host.ImageHost` over the engine's ordinary API."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find_labels(self, reference: str) -> Mapping[str, str] | None:
        try:
            image = self._engine.find(f"/images/{escape(reference)}/json")
        except NotFound:
            return None
        config = image.get("Config")
        labels = config.get("Labels") if isinstance(config, dict) else None
        return labels if isinstance(labels, dict) else {}

    def load(self, archive: Iterator[bytes]) -> None:
        for record in self._engine.upload("/images/load?quiet=1", archive):
            if "error" in record:
                raise stream_error(record)

    def create(self, image: str, command: Sequence[str], packages: str, target: str) -> str:
        mount = {"Type": "bind", "Source": packages, "Target": target, "ReadOnly": True}
        body = {
            "Image": image,
            "Cmd": list(command),
            "Entrypoint": [],
            "HostConfig": {"NetworkMode": "none", "Mounts": [mount]},
        }
        answer = self._engine.call("POST", "/containers/create", body)
        assert isinstance(answer, dict)
        return str(answer["Id"])

    def run(self, container: str, output: Callable[[bytes], None]) -> int:
        self._engine.call("POST", f"/containers/{container}/start")
        logs = self._engine.open("GET", f"/containers/{container}/logs?follow=1&stdout=1&stderr=1")
        for data in demultiplex(logs.chunks()):
            output(data)
        answer = self._engine.call("POST", f"/containers/{container}/wait")
        assert isinstance(answer, dict)
        return int(answer["StatusCode"])

    def export(self, container: str) -> Iterator[bytes]:
        return self._engine.open("GET", f"/containers/{container}/export").chunks()

    def attach(self, reference: str, media_type: str, document: bytes) -> None:
        body = {"MediaType": media_type, "Document": document.decode()}
        self._engine.call("POST", with_query("/hostvm/attachments", name=reference), body)

    def commit(self, container: str, reference: str, changes: Sequence[str], created: int) -> None:
        repository, _, tag = reference.rpartition(":")
        query = {"container": container, "repo": repository, "tag": tag, "hostvm-created": str(created)}
        path = with_query("/commit", **query)
        self._engine.call("POST", path + "".join(f"&changes={escape(change)}" for change in changes), {})

    def remove_container(self, container: str) -> None:
        try:
            self._engine.call("DELETE", f"/containers/{container}?force=1&v=1")
        except NotFound:
            pass

    def remove_image(self, reference: str) -> None:
        try:
            self._engine.call("DELETE", f"/images/{escape(reference)}")
        except NotFound:
            pass


def demultiplex(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The payloads of Docker's stream format: 8 bytes of header (stream, length) before each."""
    buffer = b""
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= 8 and len(buffer) >= (end := 8 + int.from_bytes(buffer[4:8], "big")):
            yield buffer[8:end]
            buffer = buffer[end:]
