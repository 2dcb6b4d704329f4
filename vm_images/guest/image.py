"""A finished guest image on disk, and whether it is whole. On the way of every start of a machine: imports little.

CACHE/guest/ARCH/ holds `kernel`, `rootfs.cpio` and `image.json`, which says what they are and is written first; the
folder appears under its name only when all three are there.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from guest_agent.wire.errors import DataDamaged, Unsupported
from vm_images.sums import hash_file

FORMAT = 1
KERNEL, ROOTFS, DESCRIPTION = "kernel", "rootfs.cpio", "image.json"

#: What a machine calls its processor -> what we and QEMU's programs call it, what Debian calls it.
_NAMES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_DEBIAN = {"x86_64": "amd64", "aarch64": "arm64"}

_HINT = "make it anew: hostvm machine build-image"


@dataclass(frozen=True, slots=True)
class GuestImage:
    """`kernel` and `rootfs` are paths. `id` is a digest over both files, `inputs` one of what they were made from."""

    kernel: str
    rootfs: str
    id: str
    arch: str  #: "x86_64" or "aarch64", as in qemu-system-…
    python: str  #: "3.11"
    bytecode: bool  #: whether there is any for the standard library: without, a boot takes seconds more
    kernel_version: str
    inputs: str


def machine_name(arch: str) -> str:
    """ "x86_64" or "aarch64". Raises Unsupported."""
    try:
        return _NAMES[arch]
    except KeyError:
        raise Unsupported(f"no guest image can be made for {arch}", "there are x86_64 and aarch64 (arm64)") from None


def debian_name(arch: str) -> str:
    """ "amd64" or "arm64". Raises Unsupported."""
    return _DEBIAN[machine_name(arch)]


def image_folder(cache: str, arch: str) -> str:
    return os.path.join(cache, "guest", machine_name(arch))


def find_image(cache: str, arch: str) -> GuestImage | None:
    """The image for a processor, None where there is none. Sizes are compared, contents aren't (`verify_image`).

    Raises DataDamaged where there is one that can't be used.
    """
    folder = image_folder(cache, arch)
    try:
        with open(os.path.join(folder, DESCRIPTION), encoding="utf-8") as file:
            description = json.load(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataDamaged(f"cannot read the guest image in {folder}: {error}", _HINT) from error
    return _checked(folder, description, machine_name(arch))


def _checked(folder: str, description: object, arch: str) -> GuestImage:
    try:
        image = _parse(folder, description)
        sizes = _sums(description, "size")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataDamaged(f"the guest image in {folder} isn't described as it should be: {error!r}", _HINT) from error
    if image.arch != arch:
        raise DataDamaged(f"the guest image in {folder} is for {image.arch}, not for {arch}", _HINT)
    for name, size in sizes.items():
        _check_size(os.path.join(folder, name), size)
    return image


def _parse(folder: str, description: object) -> GuestImage:
    if not isinstance(description, dict):
        raise TypeError("no object")
    if description["format"] != FORMAT:
        raise ValueError(f"its format is {description['format']}, not {FORMAT}")
    words = {key: str(description[key]) for key in ("id", "arch", "python", "kernel_version", "inputs")}
    return GuestImage(
        kernel=os.path.join(folder, KERNEL),
        rootfs=os.path.join(folder, ROOTFS),
        bytecode=bool(description["bytecode"]),
        **words,
    )


def _sums(description: object, key: str) -> dict[str, object]:
    if not isinstance(description, dict):
        raise TypeError("no object")
    return {name: description["files"][name][key] for name in (KERNEL, ROOTFS)}


def _check_size(path: str, size: object) -> None:
    try:
        found = os.stat(path).st_size
    except OSError as error:
        raise DataDamaged(f"the guest image isn't whole: {path}: {error.strerror}", _HINT) from error
    if found != size:
        raise DataDamaged(f"the guest image is damaged: {path} has {found} bytes, not {size}", _HINT)


def verify_image(image: GuestImage) -> None:
    """Reads all of it: a fraction of a second. Raises DataDamaged."""
    folder = os.path.dirname(image.kernel)
    try:
        with open(os.path.join(folder, DESCRIPTION), encoding="utf-8") as file:
            expected = _sums(json.load(file), "sha256")
        sums = {name: hash_file(os.path.join(folder, name)) for name in (KERNEL, ROOTFS)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataDamaged(f"cannot read the guest image in {folder}: {error}", _HINT) from error
    for name, found in sums.items():
        if found != expected[name]:
            raise DataDamaged(f"the guest image is damaged: {os.path.join(folder, name)} was changed", _HINT)
    if image_id(sums) != image.id:
        raise DataDamaged(f"the guest image in {folder} isn't the one that its description names", _HINT)


def image_id(sums: dict[str, str]) -> str:
    """Of the files' SHA-256 sums."""
    import hashlib

    return hashlib.sha256("".join(f"{name} {sums[name]}\n" for name in sorted(sums)).encode()).hexdigest()
