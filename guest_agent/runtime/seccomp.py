"""Seccomp profiles in docker's format -> `linux.seccomp` of the OCI spec -> BPF, compiled once and remembered.

The profile beside this file is that of containers-common 0.50 (github.com/containers/common, Apache-2.0), itself
derived from moby's default.json (Apache-2.0). It refuses what docker's refuses; unknown system calls get ENOSYS, so
that a C library newer than the profile falls back to the older call.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import cast

from guest_agent.linux import seccomp as compiler
from guest_agent.wire.errors import InvalidArgument

Json = dict[str, object]
_Rules = Sequence[Mapping[str, object]]

#: uname -m -> (Go's name, as in a profile's conditions; libseccomp's name, as in archMap)
ARCHITECTURES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
}


@functools.cache
def default_profile() -> Json:
    """Shared by all callers: don't change it."""
    with open(os.path.join(os.path.dirname(__file__), "seccomp.json"), "rb") as file:
        return cast(Json, json.load(file))


def parse_profile(text: str) -> Json:
    """The JSON that `--security-opt seccomp=` carries (the CLI has read the file)."""
    try:
        profile = json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"Decoding seccomp profile failed: {error}") from None
    if not isinstance(profile, dict) or "defaultAction" not in profile:
        raise InvalidArgument("Decoding seccomp profile failed: no defaultAction in it")
    return profile


def plan_seccomp(profile: Mapping[str, object], capabilities: Sequence[str], machine: str) -> Json:
    """`linux.seccomp` for this architecture (uname -m) and these capabilities."""
    go_name, native = ARCHITECTURES.get(machine, (machine, ""))
    planned: Json = {"defaultAction": profile["defaultAction"], "architectures": _architectures(profile, native)}
    if profile.get("defaultErrnoRet") is not None:
        planned["defaultErrnoRet"] = profile["defaultErrnoRet"]
    rules = cast(_Rules, profile.get("syscalls") or ())
    planned["syscalls"] = [_rule(rule) for rule in rules if _applies(rule, frozenset(capabilities), go_name)]
    return planned


class FilterCache:
    """BPF programs by what they were compiled from; "no libseccomp here" is remembered, too."""

    def __init__(self) -> None:
        self._programs: dict[bytes, bytes | None] = {}

    def compiled(self, seccomp: Mapping[str, object]) -> bytes | None:
        """The program, None where only the runtime can compile. The first call for a filter takes about 20 ms."""
        key = hashlib.sha256(json.dumps(seccomp, sort_keys=True).encode()).digest()
        if key not in self._programs:
            try:
                self._programs[key] = compiler.compile_filter(seccomp)
            except (compiler.SeccompUnavailable, KeyError, ValueError):
                self._programs[key] = None
        return self._programs[key]


def _architectures(profile: Mapping[str, object], native: str) -> list[str]:
    for entry in cast(_Rules, profile.get("archMap") or ()):
        if entry["architecture"] == native:
            return [native, *cast(Sequence[str], entry.get("subArchitectures") or ())]
    return list(cast(Sequence[str], profile.get("architectures") or ([native] if native else [])))


def _applies(rule: Mapping[str, object], capabilities: frozenset[str], architecture: str) -> bool:
    includes = cast(Mapping[str, Sequence[str]], rule.get("includes") or {})
    excludes = cast(Mapping[str, Sequence[str]], rule.get("excludes") or {})
    if includes.get("arches") and architecture not in includes["arches"]:
        return False
    if architecture in (excludes.get("arches") or ()):
        return False
    if includes.get("minKernel") and not _kernel_reaches(str(includes["minKernel"])):
        return False
    if not set(includes.get("caps") or ()) <= capabilities:
        return False
    return not capabilities & set(excludes.get("caps") or ())


def _kernel_reaches(wanted: str) -> bool:
    have, want = os.uname().release.split("."), wanted.split(".")
    return (int(have[0]), int(have[1].split("-")[0])) >= (int(want[0]), int(want[1]))


def _rule(rule: Mapping[str, object]) -> Json:
    planned: Json = {"names": rule.get("names") or [rule["name"]], "action": rule["action"]}
    for key in ("errnoRet", "args"):
        if rule.get(key) not in (None, []):
            planned[key] = rule[key]
    return planned
