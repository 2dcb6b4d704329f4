"""A small SSH server over a socket pair: it runs commands by /bin/sh and serves a folder's files by SFTP.

It stands for sshd in unit tests; tests/behaviour/vm has the same things done to the real one.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import paramiko
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED
from paramiko.sftp import SFTP_OK

from hostvm.machines.ssh.keys import KeyPair

T = TypeVar("T")


class Server(paramiko.ServerInterface):
    """Lets one key in. `requests` are the terminals and sizes that were asked for."""

    def __init__(self, user_key: KeyPair, names: Callable[[str], list[str]]) -> None:
        self.requests: list[tuple[object, ...]] = []
        self.names = names
        self._public = user_key.public
        self._processes: list[subprocess.Popen[bytes]] = []

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = f"{key.get_name()} {key.get_base64()}" == self._public
        return AUTH_SUCCESSFUL if known else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_pty_request(
        self, channel: paramiko.Channel, term: bytes, width: int, height: int, *rest: object
    ) -> bool:
        self.requests.append(("pty", term, height, width))
        return True

    def check_channel_window_change_request(
        self, channel: paramiko.Channel, width: int, height: int, *rest: object
    ) -> bool:
        self.requests.append(("size", height, width))
        return True

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            ["/bin/sh", "-c", command.decode()], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        self._processes.append(process)
        threading.Thread(target=_serve, args=(channel, process, _answered(channel)), daemon=True).start()
        return True

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            for file in (process.stdin, process.stdout, process.stderr):
                assert file is not None
                try:
                    file.close()
                except BrokenPipeError:
                    pass


def _answered(channel: paramiko.Channel) -> threading.Event:
    """Set when the next message has left, which is the request's answer: nothing of the command may overtake it."""
    transport, left = channel.get_transport(), threading.Event()
    send = transport._send_user_message  # type: ignore[attr-defined]

    def send_and_tell(message: paramiko.Message) -> None:
        send(message)
        left.set()

    transport._send_user_message = send_and_tell  # type: ignore[attr-defined]
    return left


def _serve(channel: paramiko.Channel, process: subprocess.Popen[bytes], answered: threading.Event) -> None:
    assert process.stdin and process.stdout and process.stderr
    answered.wait(10)
    copies = [(process.stdout, channel.sendall), (process.stderr, channel.sendall_stderr)]
    threads = [threading.Thread(target=_pump, args=(file.fileno(), send), daemon=True) for file, send in copies]
    for thread in threads:
        thread.start()
    threading.Thread(target=_feed, args=(channel, process), daemon=True).start()
    for thread in threads:
        thread.join()
    code = process.wait()
    try:
        if code >= 0:
            channel.send_exit_status(code)
        channel.close()
    except (OSError, EOFError):
        pass  # the client has gone


def _pump(descriptor: int, send: Callable[[bytes], object]) -> None:
    try:
        while data := os.read(descriptor, 1 << 14):
            send(data)
    except (OSError, EOFError):
        pass  # the client has gone


def _feed(channel: paramiko.Channel, process: subprocess.Popen[bytes]) -> None:
    assert process.stdin
    try:
        while data := channel.recv(1 << 14):
            process.stdin.write(data)
            process.stdin.flush()
        process.stdin.close()
    except (OSError, ValueError):
        pass


class Files(paramiko.SFTPServerInterface):
    """The files below `Files.root`, as the guest's."""

    root = ""

    def __init__(self, server: Server, *arguments: object, **options: object) -> None:
        super().__init__(server)
        self._names = server.names

    def _path(self, path: str) -> str:
        return f"{self.root}{path}" if path.startswith("/") else f"{self.root}/{path}"

    def list_folder(self, path: str) -> list[paramiko.SFTPAttributes] | int:
        folder = self._path(path)
        listed = [paramiko.SFTPAttributes.from_stat(os.lstat(f"{folder}/{it}"), it) for it in os.listdir(folder)]
        for name in self._names(path):
            listed.append(paramiko.SFTPAttributes.from_stat(os.stat(__file__), name))
        return listed

    def stat(self, path: str) -> paramiko.SFTPAttributes | int:
        return self._tried(lambda: paramiko.SFTPAttributes.from_stat(os.stat(self._path(path))))

    def lstat(self, path: str) -> paramiko.SFTPAttributes | int:
        return self._tried(lambda: paramiko.SFTPAttributes.from_stat(os.lstat(self._path(path))))

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> paramiko.SFTPHandle | int:
        def opened() -> paramiko.SFTPHandle:
            file = os.fdopen(os.open(self._path(path), flags, 0o600), "wb" if flags & os.O_WRONLY else "rb")
            handle = paramiko.SFTPHandle(flags)
            handle.readfile = handle.writefile = file  # type: ignore[attr-defined]
            return handle

        return self._tried(opened)

    def remove(self, path: str) -> int:
        return self._done(lambda: os.remove(self._path(path)))

    def posix_rename(self, oldpath: str, newpath: str) -> int:
        return self._done(lambda: os.rename(self._path(oldpath), self._path(newpath)))

    def mkdir(self, path: str, attr: paramiko.SFTPAttributes) -> int:
        return self._done(lambda: os.mkdir(self._path(path)))

    def chattr(self, path: str, attr: paramiko.SFTPAttributes) -> int:
        return self._done(lambda: paramiko.SFTPServer.set_file_attr(self._path(path), attr))

    def symlink(self, target_path: str, path: str) -> int:
        return self._done(lambda: os.symlink(target_path, self._path(path)))

    def readlink(self, path: str) -> str | int:
        return self._tried(lambda: os.readlink(self._path(path)))

    def _tried(self, act: Callable[[], T]) -> T | int:
        try:
            return act()
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    def _done(self, act: Callable[[], object]) -> int:
        answer = self._tried(act)
        return answer if isinstance(answer, int) else SFTP_OK


@contextmanager
def serving(
    host_key: KeyPair, user_key: KeyPair, root: str = "", names: Callable[[str], list[str]] = lambda _path: []
) -> Iterator[tuple[socket.socket, Server]]:
    """The client's end of the stream, and the server that is at its other end. `names` are listed besides the files."""
    ours, theirs = socket.socketpair()
    server = Server(user_key, names)
    transport = paramiko.Transport(theirs)
    transport.add_server_key(host_key.parsed())
    files = type("FilesBelow", (Files,), {"root": root})
    transport.set_subsystem_handler("sftp", paramiko.SFTPServer, files)
    transport.start_server(event=threading.Event(), server=server)
    try:
        yield ours, server
    finally:
        ours.close()
        transport.close()
        server.end()
