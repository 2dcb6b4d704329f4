"""Seccomp profiles in docker's format -> `linux.seccomp` of the OCI spec -> BPF, compiled once and remembered.

The profile beside this file is that of containers-common 0.50 (github.com/containers/common, Apache-2.0). System calls
that it doesn't know get ENOSYS, so that a C library newer than the profile falls back to the older call. It lets
mount(2), unshare(2) and others through to the kernel's own check, where docker asks for the capability first
(docs.docker.com/engine/security/seccomp): `_tightened` makes that so here.
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


#: Capability -> what is let through only with it; without it EPERM. "" = never let through.
_GATED = {
    "CAP_SYS_ADMIN": (
        "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_tree", "setns",
        "umount", "umount2", "unshare",
    ),
    "CAP_SYS_BOOT": ("reboot",),
    "CAP_SYS_NICE": ("get_mempolicy", "mbind", "set_mempolicy"),
    "CAP_SYS_PTRACE": ("pidfd_getfd",),
    "CAP_SYSLOG": ("syslog",),
    "": ("keyctl", "pivot_root"),
}  # fmt: skip
#: Every CLONE_NEW* flag (linux/sched.h): new namespaces want CAP_SYS_ADMIN. clone3 hides its flags in memory, so it
#: gets ENOSYS and the C library falls back to clone.
_CLONE_NAMESPACES = 0x7E020000
_EPERM = 1


@functools.cache
def default_profile() -> Json:
    """Shared by all callers: don't change it."""
    with open(os.path.join(os.path.dirname(__file__), "seccomp.json"), "rb") as file:
        return _tightened(cast(Json, json.load(file)))


def _tightened(profile: Json) -> Json:
    gated = {name for names in _GATED.values() for name in names} | {"clone", "clone3"}
    rules = []
    for rule in cast(_Rules, profile["syscalls"]):
        kept = [name for name in cast(Sequence[str], rule["names"]) if name not in gated]
        if kept:
            rules.append({**rule, "names": kept})
    for capability, names in _GATED.items():
        rules += _gate(capability, names)
    return {**profile, "syscalls": rules + _clone_rules()}


def _gate(capability: str, names: Sequence[str]) -> list[Json]:
    refuse: Json = {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM}
    if not capability:
        return [refuse]
    allow: Json = {"names": names, "action": "SCMP_ACT_ALLOW", "includes": {"caps": [capability]}}
    return [allow, refuse | {"excludes": {"caps": [capability]}}]


def _clone_rules() -> list[Json]:
    """The flags are clone's first argument, but the second on s390."""
    rules: list[Json] = [
        {"names": ["clone", "clone3"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}}
    ]
    for index, arches in ((0, {"excludes": ["s390x"]}), (1, {"includes": ["s390x"]})):
        no_namespaces = {"index": index, "value": _CLONE_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
        rule: Json = {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [no_namespaces]}
        rule["includes"] = {"arches": arches.get("includes", [])}
        rule["excludes"] = {"arches": arches.get("excludes", []), "caps": ["CAP_SYS_ADMIN"]}
        rules.append(rule)
    return rules


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
