"""`linux.seccomp` of the OCI spec compiled to a BPF program by libseccomp.

An OCI runtime compiles the default profile at every start of a container (10 to 20 ms, the largest single share);
compiled once and handed over by annotation it costs nothing. The calls and their order are those of crun's
`libcrun_generate_seccomp`, so the programs are identical byte by byte.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from collections.abc import Mapping, Sequence
from typing import cast

_KILL_PROCESS = 0x80000000
_KILL_THREAD = 0x00000000
_TRAP = 0x00030000
_ERRNO = 0x00050000
_TRACE = 0x7FF00000
_LOG = 0x7FFC0000
_ALLOW = 0x7FFF0000
_ACTIONS = {
    "SCMP_ACT_KILL": _KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": _KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": _KILL_PROCESS,
    "SCMP_ACT_TRAP": _TRAP,
    "SCMP_ACT_ERRNO": _ERRNO,
    "SCMP_ACT_TRACE": _TRACE,
    "SCMP_ACT_LOG": _LOG,
    "SCMP_ACT_ALLOW": _ALLOW,
}
_OPERATORS = {
    f"SCMP_CMP_{name}": number for number, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), 1)
}
_CTL_NNP = 3
_NR_ERROR = -1
_EPERM = 1


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


class SeccompUnavailable(Exception):
    """No libseccomp, or a profile that it doesn't understand: let the runtime compile."""


def load_library() -> ctypes.CDLL:
    """libseccomp.so.2, its functions declared."""
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError as error:
        raise SeccompUnavailable(str(error)) from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison),
    ]  # fmt: skip
    return library


def compile_filter(seccomp: Mapping[str, object]) -> bytes:
    """The BPF program (struct sock_filter[]) of a `linux.seccomp` object. About 20 ms for three architectures."""
    library = load_library()
    default = _action(str(seccomp["defaultAction"]), seccomp.get("defaultErrnoRet"))
    context = library.seccomp_init(default)
    if not context:
        raise SeccompUnavailable("seccomp_init")
    try:
        library.seccomp_attr_set(context, _CTL_NNP, 0)
        _add_architectures(library, context, cast(Sequence[str], seccomp.get("architectures", ())))
        for rule in cast(Sequence[Mapping[str, object]], seccomp.get("syscalls", ())):
            _add_rule(library, context, default, rule)
        return _export(library, context)
    finally:
        library.seccomp_release(context)


def _action(name: str, errno_return: object) -> int:
    try:
        action = _ACTIONS[name]
    except KeyError:
        raise SeccompUnavailable(f"unknown action {name}") from None
    if action in (_ERRNO, _TRACE):
        action |= (int(str(errno_return)) if errno_return is not None else _EPERM) & 0xFFFF
    return action


def _add_architectures(library: ctypes.CDLL, context: int, names: Sequence[str]) -> None:
    for name in names:
        token = library.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
        if not token:
            raise SeccompUnavailable(f"unknown architecture {name}")
        result = library.seccomp_arch_add(context, token)
        if result < 0 and result != -17:  # EEXIST: the native one is there already
            raise SeccompUnavailable(f"{name}: {os.strerror(-result)}")


def _add_rule(library: ctypes.CDLL, context: int, default: int, rule: Mapping[str, object]) -> None:
    action = _action(str(rule["action"]), rule.get("errnoRet"))
    if action == default:
        return
    comparisons = [_comparison(argument) for argument in cast(Sequence[Mapping[str, object]], rule.get("args") or ())]
    for name in cast(Sequence[str], rule["names"]):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number != _NR_ERROR:
            _add_comparisons(library, context, action, number, comparisons)


def _add_comparisons(
    library: ctypes.CDLL, context: int, action: int, number: int, comparisons: list[_Comparison]
) -> None:
    """Several conditions on one argument are alternatives (libseccomp takes one each), otherwise all must hold."""
    indices = [comparison.arg for comparison in comparisons]
    groups = [[one] for one in comparisons] if len(set(indices)) != len(indices) else [comparisons]
    for group in groups:
        array = (_Comparison * len(group))(*group)
        result = library.seccomp_rule_add_array(context, action, number, len(group), array)
        if result < 0:
            raise SeccompUnavailable(f"rule of system call {number}: {os.strerror(-result)}")


def _comparison(argument: Mapping[str, object]) -> _Comparison:
    value, second = int(str(argument["value"])), int(str(argument.get("valueTwo") or 0))
    return _Comparison(int(str(argument["index"])), _OPERATORS[str(argument["op"])], value, second)


def _export(library: ctypes.CDLL, context: int) -> bytes:
    memory = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        result = library.seccomp_export_bpf(context, memory)
        if result < 0:
            raise SeccompUnavailable(f"export: {os.strerror(-result)}")
        return os.pread(memory, os.fstat(memory).st_size, 0)
    finally:
        os.close(memory)
