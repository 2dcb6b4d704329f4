"""Platforms, `os/architecture[/variant]`, in Go's words. Pure but for one uname."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from guest_agent.wire.errors import InvalidArgument

#: uname's machine and what people write -> (Go's architecture, variant). containerd/platforms: normalizeArch.
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armv8l": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armel": ("arm", "v6"),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "loongarch64": ("loong64", ""),
}
#: The variant that an architecture has when none is said.
_USUAL_VARIANT = {"arm64": "v8", "arm": "v7", "amd64": "v1"}
_SYSTEMS = {"macos": "darwin"}
#: containerd/platforms: isKnownOS, isKnownArch. They tell what a specifier of one part is.
_KNOWN_SYSTEMS = frozenset(
    "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd "
    "openbsd plan9 solaris windows zos".split()
)
_KNOWN_ARCHITECTURES = frozenset(
    "386 amd64 amd64p32 arm armbe arm64 arm64be loong64 mips mipsle mips64 mips64le mips64p32 mips64p32le "
    "ppc ppc64 ppc64le riscv riscv64 s390 s390x sparc sparc64 wasm".split()
)
_PART = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Platform:
    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def runs(self, other: Platform) -> bool:
        """Is `other` (an image's) what is asked for? A missing variant is the usual one."""
        return (self.os, self.architecture, self._variant) == (other.os, other.architecture, other._variant)

    @property
    def _variant(self) -> str:
        usual = _USUAL_VARIANT.get(self.architecture, "")
        return "" if self.variant == usual else self.variant


def parse_platform(text: str) -> Platform:
    """`linux`, `arm64`, `linux/arm64` or `linux/arm/v7`; "" is this machine's. Raises InvalidArgument."""
    if not text:
        return host_platform()
    parts = text.lower().split("/")
    for part in parts:
        if not _PART.fullmatch(part):
            raise InvalidArgument(
                f'"{part}" is an invalid component of "{text}": platform specifier component must match '
                f'"^{_PART.pattern}$": invalid argument'
            )
    if len(parts) > 3:
        raise InvalidArgument(f'"{text}": cannot parse platform specifier: invalid argument')
    return make_platform(*parts) if len(parts) > 1 else _parse_single(text, parts[0])


def _parse_single(text: str, part: str) -> Platform:
    system = _SYSTEMS.get(part, part)
    if system in _KNOWN_SYSTEMS:
        return Platform(system, host_platform().architecture)
    platform = make_platform("linux", part)
    if platform.architecture not in _KNOWN_ARCHITECTURES:
        raise InvalidArgument(f'"{text}": unknown operating system or architecture: invalid argument')
    return platform


def make_platform(system: str, architecture: str, variant: str = "") -> Platform:
    """With the usual names."""
    known, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
    return Platform(_SYSTEMS.get(system, system), known, variant or implied)


def host_platform() -> Platform:
    return make_platform("linux", os.uname().machine)
