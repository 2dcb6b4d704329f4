"""A share on this host: server, port and relay as processes, and the mount in this process's own mount namespace."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from guest_agent.linux.mounts import umount_if_mounted

NOBODY = 65534


class Stage:
    """`host` is the shared folder on the host, `guest` the same folder through the share."""

    def __init__(self, uid: int = 0) -> None:
        self.folder = tempfile.mkdtemp(prefix="hv-share-", dir="/tmp")
        os.chmod(self.folder, 0o755)
        self.host = f"{self.folder}/home/shared folder"
        self.mount_point = f"{self.folder}/mnt"
        self.guest = f"{self.mount_point}{self.host}"
        self._uid = uid
        self._make_folders()
        self._socket = f"{self.folder}/port"
        self._processes: list[subprocess.Popen[str]] = []
        self._start_port()
        self.server = self.start_server()
        self._wait_for_mount()

    def _make_folders(self) -> None:
        os.makedirs(self.host)
        os.makedirs(f"{self.folder}/state")
        os.mkdir(self.mount_point)
        os.chown(self.host, self._uid, self._uid)
        os.chown(f"{self.folder}/state", self._uid, self._uid)

    def _start_port(self) -> None:
        ours, theirs = socket.socketpair()
        self._spawn("port", self._socket, str(ours.fileno()), passed=ours)
        os.chmod(self._socket, 0o666)
        ours.close()
        self._guest_end = theirs
        self._relay = self._start_relay()

    def _start_relay(self) -> subprocess.Popen[str]:
        end = self._guest_end.fileno()
        words = [sys.executable, "-m", "tests.behaviour.shares.processes", "relay", str(end), self.mount_point]
        return subprocess.Popen(words, pass_fds=[end], text=True)

    def replace_relay(self) -> None:
        """As the guest's init does."""
        self._relay.kill()
        self._relay.wait(10)
        self._relay = self._start_relay()
        self._wait_for_mount()

    def start_server(self, *rules: str) -> subprocess.Popen[str]:
        """Another one; the port takes it once its predecessor has gone."""
        journal = f"{self.folder}/state/journal"
        self.server = self._spawn("server", self._socket, journal, str(self._uid), *(rules or (self.host,)))
        return self.server

    def _spawn(self, *words: str, passed: socket.socket | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.behaviour.shares.processes", *words],
            pass_fds=[passed.fileno()] if passed else [],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline(), "it didn't start"
        self._processes.append(process)
        return process

    def set_rules(self, *paths: str) -> None:
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(":".join(paths) + "\n")
        self.server.stdin.flush()
        assert self.server.stdout.readline() == "set\n"

    def _wait_for_mount(self) -> None:
        deadline = time.monotonic() + 10
        while not is_served(self.mount_point):
            assert time.monotonic() < deadline and self._relay.poll() is None, "the share isn't mounted"
            time.sleep(0.01)

    def end_server(self, *, by_force: bool = False) -> None:
        """SIGTERM, which lets it answer what was asked; or SIGKILL."""
        (self.server.kill if by_force else self.server.terminate)()
        self.server.wait(10)

    def close(self) -> None:
        """Nothing of it stays, whatever state it is in."""
        umount_if_mounted(self.mount_point)
        self._guest_end.close()
        for process in (*self._processes, self._relay):
            process.kill()
            process.wait(10)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def is_served(path: str) -> bool:
    """Mounted by a relay that lives: for one that died the kernel answers ENOTCONN. statfs(2) is never cached."""
    try:
        return is_mounted(path) and os.statvfs(path).f_bsize > 0
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
        return False


def is_mounted(path: str) -> bool:
    """Without touching it."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return any(line.split()[4] == path for line in file)
