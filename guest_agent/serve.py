"""Start an engine's keeper: what `python -m guest_agent serve` does before it becomes the keeper.

All that needs the kernel is done here, so that the keeper needs none of it: the private mount namespace, the lock that
makes two starts one, the socket. Then the process turns into the keeper by exec, which keeps all of that: namespaces,
descriptors, and the subreaper attribute (prctl(2)).
"""

from __future__ import annotations

import fcntl
import grp
import json
import os
import resource
import socket
import sys
import time

import guest_agent
from guest_agent.config import load_config
from guest_agent.linux.mounts import umount_if_mounted, unshare_mount_namespace
from guest_agent.linux.process import become_subreaper
from guest_agent.store.paths import EnginePaths
from guest_agent.wire.errors import Conflict, HostFailed, HostvmError, error_record

#: sun_path in sockaddr_un: 108 bytes on Linux, 104 on macOS, with the terminating zero.
_SOCKET_PATH_LIMIT = 103

#: Seconds for an engine that ends to be gone.
_ENDING = 20.0

_CGROUP2_OF_A_HYBRID_HOST = "/sys/fs/cgroup/unified"

#: `-I -S` leaves the package's folder out of the path; this puts it in again, and nothing else.
_KEEPER_PROGRAM = "import sys; sys.path.insert(0, {root!r}); from guest_agent.keeper.main import main; main()"


def serve(paths: EnginePaths, config_path: str, ready: int, log: str, hold: str) -> None:
    """Doesn't return where it succeeds; on failure one line of JSON goes to the descriptor `ready`.

    `log` "-" leaves standard output as it is. `hold` is the engine's affair (`daemon.wait_until_released`).
    """
    ready = os.dup(ready)  # it may be our standard output, which becomes the log
    try:
        argv = [*_prepare(paths, config_path, ready, log), *(["--hold", hold] if hold else [])]
    except (HostvmError, OSError) as refusal:
        error = _explained(refusal)
        answer = error_record(error)
        os.write(ready, json.dumps(answer).encode() + b"\n")
        sys.exit(1)
    os.execv(argv[0], argv)


def _explained(refusal: HostvmError | OSError) -> HostvmError:
    if isinstance(refusal, HostvmError):
        return refusal
    hint = "in a chroot, / must be a mount point: mount --bind / /" if "mount on /" in str(refusal) else ""
    return HostFailed(f"the engine can't start: {refusal}", hint)


def _prepare(paths: EnginePaths, config_path: str, ready: int, log: str) -> list[str]:
    config = load_config(config_path)
    if os.geteuid() != 0:
        raise HostFailed("the engine must be root on Linux", "run it with sudo, or as a member of the group 'hostvm'")
    if len(os.fsencode(paths.socket)) > _SOCKET_PATH_LIMIT:
        raise HostFailed(f"the socket's path is longer than {_SOCKET_PATH_LIMIT} bytes: {paths.socket}")
    _make_folders(paths)
    lock = take_lock(paths)
    _raise_descriptor_limit()
    unshare_mount_namespace()
    umount_if_mounted(_CGROUP2_OF_A_HYBRID_HOST)
    become_subreaper()
    listener = _listen(paths.socket, config.group)
    for fd in (lock, listener, ready):
        os.set_inheritable(fd, True)
    _redirect_output(log)
    root = os.path.dirname(os.path.dirname(os.path.abspath(guest_agent.__file__)))
    keeper = [sys.executable, "-I", "-S", "-c", _KEEPER_PROGRAM.format(root=root)]
    engine = [sys.executable, "-I", "-m", "guest_agent", "engine", "--data", paths.data, "--run", paths.run]
    return [*keeper, str(lock), str(listener), str(ready), paths.exit_journal, *engine, "--config", config_path]


def _make_folders(paths: EnginePaths) -> None:
    try:
        os.makedirs(paths.data, mode=0o710, exist_ok=True)
        os.makedirs(paths.run, mode=0o711, exist_ok=True)
    except OSError as error:
        raise HostFailed(f"can't make {error.filename}: {error.strerror}") from error


def take_lock(paths: EnginePaths) -> int:
    """A descriptor: the lock is held as long as it is open. Raises Conflict where another engine answers.

    One that nobody can connect to any more is ending, and waited for: to give back its memory may take it a second.
    """
    fd = os.open(paths.keeper_lock, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _ENDING
    while not _try_lock(fd):
        if _is_listened_at(paths.socket) or time.monotonic() > deadline:
            os.close(fd)
            raise Conflict("an engine is running already for this run directory")
        time.sleep(0.02)
    return fd


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_listened_at(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _raise_descriptor_limit() -> None:
    """A running container costs the engine about six descriptors; the soft limit is 1024 by custom only."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _listen(path: str, group: str) -> int:
    """A socket that nobody can connect to before its rights are right."""
    if os.path.lexists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old_mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(old_mask)
    try:
        os.chown(path, 0, grp.getgrnam(group).gr_gid)
        os.chmod(path, 0o660)
    except KeyError:
        pass  # no such group: root alone
    listener.listen(512)
    return listener.detach()


def _redirect_output(path: str) -> None:
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    if path != "-":
        log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
    os.chdir("/")
