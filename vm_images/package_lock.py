"""The lock file of an image: exactly which packages it is made of.

It is a small Packages file with a paragraph in front: whoever follows it resolves dependencies as ever, in a catalogue
that has these packages and no others, and comes to the same image. It is written from package lists under Debian's
signature; who follows it trusts its sums.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from guest_agent.wire.errors import Conflict, HostFailed, InvalidArgument
from vm_images.debian.archive import Archive
from vm_images.debian.control import parse_paragraphs
from vm_images.debian.locked import SNAPSHOT_FORMAT, LockedPackage, Source, lock_package
from vm_images.debian.packages import Alternatives, Package, parse_package

_FORMAT = "hostvm-packages-1"


@dataclass(frozen=True, slots=True)
class PackageLock:
    """`epoch` is the release's date in seconds; `packages` are sorted, each with the archive that it is in."""

    release: str
    architecture: str
    epoch: int
    snapshot: str
    packages: tuple[tuple[Package, Source], ...]

    @property
    def digest(self) -> str:
        return hashlib.sha256(encode_lock(self).encode()).hexdigest()

    def locked(self, packages: Iterable[Package]) -> list[LockedPackage]:
        sources = {package.name: source for package, source in self.packages}
        return [lock_package(it, sources[it.name]) for it in packages]

    def indices(self) -> list[tuple[str, str]]:
        """As `Catalogue` takes them; the base of each is the word for its archive."""
        return [(source, _encode_package(package, source)) for package, source in self.packages]


def plan_lock(release: str, archive: Archive, packages: Iterable[Package]) -> PackageLock:
    """A lock of `packages`, which are of this archive."""
    chosen = tuple((it, archive.source_of(it)) for it in sorted(packages, key=lambda it: it.name))
    snapshot = archive.moment.strftime(SNAPSHOT_FORMAT)
    return PackageLock(release, archive.architecture, archive.epoch, snapshot, chosen)


def find_lock(path: str, release: str, architecture: str) -> PackageLock | None:
    """The lock at `path`; None where nothing is there, or `path` is "".

    Raises InvalidArgument, Conflict (it is for another release or architecture), HostFailed.
    """
    lock = _read_lock(path) if path else None
    if lock is not None and (lock.release, lock.architecture) != (release, architecture):
        raise Conflict(
            f"the lock file {path} is for {lock.release} on {lock.architecture}, not for {release} on {architecture}",
            "name another file: it is written where it is missing",
        )
    return lock


def _read_lock(path: str) -> PackageLock | None:
    try:
        with open(path, encoding="utf-8") as file:
            return parse_lock(file.read())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostFailed(f"cannot read the lock file {path}: {error.strerror}") from error
    except (ValueError, KeyError) as error:
        hint = "remove it, and it is written anew"
        raise InvalidArgument(f"cannot read the lock file {path}: {error}", hint) from error


def parse_lock(text: str) -> PackageLock:
    """Raises ValueError, KeyError."""
    head, *paragraphs = text.split("\n\n")
    fields = next(iter(parse_paragraphs(head)), {})
    if fields.get("format") != _FORMAT:
        raise ValueError(f"it doesn't begin with `Format: {_FORMAT}`")
    packages = tuple(_parse_package(it) for it in paragraphs if it.strip())
    if not packages:
        raise ValueError("it names no packages")
    return PackageLock(fields["release"], fields["architecture"], int(fields["epoch"]), fields["snapshot"], packages)


def _parse_package(paragraph: str) -> tuple[Package, Source]:
    fields = next(iter(parse_paragraphs(paragraph)), {})
    source = Source(fields["archive"])
    return parse_package(paragraph, source), source


def encode_lock(lock: PackageLock) -> str:
    head = (
        f"Format: {_FORMAT}\nRelease: {lock.release}\nArchitecture: {lock.architecture}\nEpoch: {lock.epoch}\n"
        f"Snapshot: {lock.snapshot}\n"
    )
    return "\n".join([head, *(_encode_package(*it) for it in lock.packages)])


def _encode_package(package: Package, source: Source) -> str:
    fields: Mapping[str, str] = {
        "Package": package.name,
        "Version": package.version,
        "Essential": "yes" if package.essential else "",
        "Priority": "required" if package.required else "",
        "Pre-Depends": _join(package.pre_depends),
        "Depends": _join(package.depends),
        "Provides": _join((it,) for it in package.provides),
        "Conflicts": _join(package.conflicts),
        "Archive": source,
        "Filename": package.filename,
        "Size": str(package.size),
        "SHA256": package.sha256,
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


def _join(groups: Iterable[Alternatives]) -> str:
    return ", ".join(" | ".join(map(str, group)) for group in groups)
