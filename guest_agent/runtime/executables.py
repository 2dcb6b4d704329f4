"""Is there such a command in a container's root? Asked before an exec, so that the answer is docker's wording and the
runtime's own words don't get into the stream that the user reads."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from guest_agent.linux.paths import open_in_root
from guest_agent.runtime.environment import DEFAULT_PATH
from guest_agent.runtime.failures import command_not_executable, command_not_found
from guest_agent.wire.errors import CommandNotExecutable


def check_command(root: str, argv0: str, environment: Sequence[str], working_dir: str = "/") -> None:
    """CommandNotFound or CommandNotExecutable. `root` may be /proc/<pid>/root. Follows links inside the root only."""
    seen = [_kind(root, path) for path in _candidates(argv0, environment, working_dir)]
    if "executable" in seen:
        return
    if "other" in seen:
        raise command_not_executable(argv0, execing=True)
    raise command_not_found(argv0, execing=True)


def check_working_dir(root: str, path: str) -> None:
    """CommandNotExecutable where the command couldn't begin in that folder."""
    try:
        os.close(open_in_root(root, path, os.O_PATH | os.O_DIRECTORY))
    except OSError as error:
        raise CommandNotExecutable(
            "OCI runtime exec failed: exec failed: unable to start container process: "
            f'chdir to cwd ("{path}") set in config.json failed: {(error.strerror or "").lower()}'
        ) from error


def _candidates(argv0: str, environment: Sequence[str], working_dir: str) -> list[str]:
    if "/" in argv0:
        return [os.path.join(working_dir or "/", argv0)]
    paths = [item.removeprefix("PATH=") for item in environment if item.startswith("PATH=")]
    folders = (paths[-1] if paths else DEFAULT_PATH).split(":")
    return [os.path.join(working_dir or "/", folder, argv0) for folder in folders] if argv0 else []


def _kind(root: str, path: str) -> str:
    try:
        descriptor = open_in_root(root, path, os.O_PATH)
    except OSError:
        return ""
    try:
        mode = os.fstat(descriptor).st_mode
    finally:
        os.close(descriptor)
    return "executable" if stat.S_ISREG(mode) and mode & 0o111 else "other"
