"""What an OCI runtime says when it can't start something -> our errors, in docker's wording.

docker's clients, and scripts over them, look for these very words; `docker run` turns them into 126 and 127.
"""

from __future__ import annotations

import json
import re

from guest_agent.wire.errors import CommandNotExecutable, CommandNotFound, HostFailed, HostvmError

_CREATE = "failed to create task for container: failed to create shim task: OCI runtime create failed"
_EXEC = "OCI runtime exec failed: exec failed"
_START = "unable to start container process"

_NOT_FOUND = (
    re.compile(r"executable file `(?P<name>.*)` not found in \$PATH"),
    re.compile(r'exec: "(?P<name>.*)": executable file not found in \$PATH'),
    re.compile(r'exec: "(?P<name>.*)": stat .*: no such file or directory'),
)
_NOT_EXECUTABLE = (
    re.compile(r"open executable: (Permission denied|Operation not permitted|Is a directory)"),
    re.compile(r'exec: "(?P<name>.*)": (permission denied|is a directory)'),
)
_NO_FOLDER = re.compile(r"chdir `(.*)`: Not a directory")
_FORMAT = re.compile(r"exec.*[Ee]xec format error")
_FORMAT_HINT = "it is for another architecture, or no program: `hostvm doctor` says what runs programs of others"
_RLIMIT_HINT = "limits can't be raised above the engine's own on this machine: ask for less, or leave --ulimit out"
_DISK_HINT = "the disk is full: `hostvm rm` and `hostvm rmi` make room"
_HINTS = (
    ("setrlimit", _RLIMIT_HINT),
    ("setting rlimit", _RLIMIT_HINT),
    ("cgroup", "`hostvm doctor` looks at this machine's control groups"),
    ("o space left", _DISK_HINT),
)


def parse_log(text: str) -> str:
    """The last error in a runtime's JSON log; lines that aren't JSON are taken as they are. "" where there is none."""
    message = ""
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            message = line.strip() or message
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal"):
            message = str(entry.get("msg", ""))
    return message


def create_failure(said: str, argv0: str) -> HostvmError:
    """The error of a failed `create`. `said` is `parse_log` of its log."""
    return _failure(said, argv0, _CREATE)


def exec_failure(said: str, argv0: str) -> HostvmError:
    return _failure(said, argv0, _EXEC)


def command_not_found(argv0: str, *, execing: bool = False) -> CommandNotFound:
    what = f"stat {argv0}: no such file or directory" if "/" in argv0 else "executable file not found in $PATH"
    return CommandNotFound(f'{_EXEC if execing else _CREATE}: {_START}: exec: "{argv0}": {what}')


def command_not_executable(argv0: str, *, execing: bool = False) -> CommandNotExecutable:
    return CommandNotExecutable(f'{_EXEC if execing else _CREATE}: {_START}: exec: "{argv0}": permission denied')


def _failure(said: str, argv0: str, prefix: str) -> HostvmError:
    execing = prefix is _EXEC
    if any(pattern.search(said) for pattern in _NOT_FOUND):
        return command_not_found(argv0, execing=execing)
    if any(pattern.search(said) for pattern in _NOT_EXECUTABLE):
        return command_not_executable(argv0, execing=execing)
    if _FORMAT.search(said):
        return CommandNotExecutable(f'{prefix}: {_START}: exec: "{argv0}": exec format error', _FORMAT_HINT)
    if (match := _NO_FOLDER.search(said)) and not execing:  # docker makes it, with the container
        return HostFailed(f"Cannot mkdir: {match[1]} is not a directory", "-w must name a folder")
    if said.startswith("chdir"):
        return CommandNotExecutable(f"{prefix}: {_START}: {said}", "-w must name a folder")
    text = said.removeprefix("runc create failed: ").removeprefix("exec failed: ") or "the runtime ended without a word"
    return HostFailed(f"{prefix}: {text}", next((hint for word, hint in _HINTS if word in said), ""))
