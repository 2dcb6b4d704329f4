"""The lock file: exactly which files an image is made from, each with its SHA-256. Text in, values out.

The file lies in the repository (`LOCK`). It is written (`vm_images.guest.renewal`) from package lists whose Release
files carry Debian's signature; a build afterwards trusts the sums in it and needs neither keyring nor gpgv, which a
Mac doesn't have.

A package's `source` names what its `path` is relative to: Debian's archive, its security archive, or PyPI's files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass

from guest_agent.wire.errors import DataDamaged, Unsupported
from vm_images.debian.locked import LockedPackage, Source
from vm_images.documents import keep_document

LOCK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lock.json")
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class LockedArchitecture:
    """`kernel` is the name of the kernel's package, which is one of `packages`."""

    kernel: str
    packages: tuple[LockedPackage, ...]


@dataclass(frozen=True, slots=True)
class Lock:
    """`epoch` is the newest Release file's date in seconds: the time of every file in the image.

    `snapshot` is the same moment as snapshot.debian.org spells it.
    """

    suite: str
    epoch: int
    snapshot: str
    architectures: Mapping[str, LockedArchitecture]

    def of(self, architecture: str) -> LockedArchitecture:
        """Raises Unsupported."""
        try:
            return self.architectures[architecture]
        except KeyError:
            known = ", ".join(sorted(self.architectures))
            raise Unsupported(f"no guest image can be made for {architecture}", f"there are: {known}") from None

    def names(self) -> set[str]:
        """The packages that it has for every architecture."""
        return set.intersection(*({it.name for it in value.packages} for value in self.architectures.values()))

    def digest(self, architecture: str) -> str:
        """Of all that the lock says about one architecture."""
        value = [self.suite, self.epoch, asdict(self.of(architecture))]
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def read_lock(path: str = LOCK) -> Lock:
    """Raises DataDamaged."""
    try:
        with open(path, encoding="utf-8") as file:
            return parse_lock(file.read())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataDamaged(f"cannot read the guest image's lock file {path}: {error}", "reinstall hostvm") from error


def parse_lock(text: str) -> Lock:
    """Raises ValueError, KeyError, TypeError."""
    value = json.loads(text)
    if value["format"] != _FORMAT:
        raise ValueError(f"its format is {value['format']}, not {_FORMAT}")
    architectures = {
        name: LockedArchitecture(it["kernel"], tuple(map(_parse_package, it["packages"])))
        for name, it in value["architectures"].items()
    }
    return Lock(value["suite"], int(value["epoch"]), value["snapshot"], architectures)


def _parse_package(value: Mapping[str, str]) -> LockedPackage:
    return LockedPackage(
        value["name"], value["version"], Source(value["source"]), value["path"], int(value["size"]), value["sha256"]
    )


def encode_lock(lock: Lock) -> str:
    """One package a line, so that a renewal reads well as a diff."""
    blocks = [_encode_architecture(name, lock.architectures[name]) for name in sorted(lock.architectures)]
    head = {"format": _FORMAT, "suite": lock.suite, "epoch": lock.epoch, "snapshot": lock.snapshot}
    fields = "".join(f"  {json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items())
    return f'{{\n{fields}  "architectures": {{\n' + ",\n".join(blocks) + "\n  }\n}\n"


def _encode_architecture(name: str, architecture: LockedArchitecture) -> str:
    packages = sorted(architecture.packages, key=lambda it: it.name)
    rows = ",\n".join(f"      {json.dumps(asdict(it))}" for it in packages)
    kernel = f'      "kernel": {json.dumps(architecture.kernel)},\n'
    return f'    {json.dumps(name)}: {{\n{kernel}      "packages": [\n{rows}\n      ]\n    }}'


def replace_lock(path: str, lock: Lock) -> None:
    """Writes the file whole or not at all. Raises HostFailed."""
    keep_document(path, encode_lock(lock).encode())


def renewed_lock(cache: str) -> str:
    """Where a user's own renewal is kept: an installed hostvm isn't written to."""
    return os.path.join(cache, "guest", "lock.json")


def choose_lock(cache: str, needed: Collection[str], own: str = LOCK) -> Lock:
    """The user's renewal while it is newer than hostvm's own lock file and names all that is `needed`, else the latter.

    Raises DataDamaged.
    """
    lock = read_lock(own)
    try:
        renewed = read_lock(renewed_lock(cache))
    except DataDamaged:
        return lock
    return renewed if renewed.epoch > lock.epoch and renewed.names() >= set(needed) else lock
