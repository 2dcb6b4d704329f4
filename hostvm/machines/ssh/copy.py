"""Files and folders over SFTP, in both directions, as `cp -r` and `scp -p` name their targets.

An existing folder as target takes the source in under its name, or what is in it where that is `FOLDER/.`; any other
target is the new name. Modes and times go
along, links stay links; what is no file, folder or link is left out and said. Each file is written beside its place
and moved there, so that a copy that was cut off leaves the old file whole.

The other side isn't trusted: a name that it lists is refused when it could lead out of the target.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import paramiko

from guest_agent.wire.errors import HostFailed, InvalidArgument, NotFound, PeerMisbehaved, Unavailable

_CHUNK = 1 << 18
_SMALL = 1 << 15  #: what every server gives in one answer (draft-ietf-secsh-filexfer-02, section 3)


class Copier:
    """`skipped` are the paths that were left out, as they are neither files nor folders nor links."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self.skipped: list[str] = []
        try:
            sftp = paramiko.SFTPClient.from_transport(transport)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise Unavailable(f"the machine doesn't copy files: {error}") from error
        assert sftp is not None
        self._sftp = sftp

    def upload(self, source: str, target: str) -> None:
        """From this host. Raises NotFound, InvalidArgument, HostFailed, all of them naming the path."""
        with _naming(source):
            mode = os.stat(source).st_mode
        name = "." if source.endswith("/.") else os.path.basename(os.path.abspath(source))
        self._send(source, _place(target, name, self._remote_mode(target), stat.S_ISDIR(mode)))

    def download(self, source: str, target: str) -> None:
        """To this host. Raises as `upload`, and PeerMisbehaved."""
        status = self._remote_status(source)
        if status is None:
            raise NotFound(f"{source}: no such file or folder in the machine")
        name = os.path.basename(source.rstrip("/"))
        place = _place(target, name, _local_mode(target), stat.S_ISDIR(status.st_mode or 0))
        self._receive(source, place, status)

    def _send(self, source: str, target: str) -> None:
        with _naming(target):
            status = os.stat(source)
            if stat.S_ISDIR(status.st_mode):
                self._send_folder(source, target)
            elif stat.S_ISREG(status.st_mode):
                self._send_file(source, target)
            else:
                self.skipped.append(source)
                return
            self._sftp.chmod(target, stat.S_IMODE(status.st_mode))
            self._sftp.utime(target, (status.st_atime, status.st_mtime))

    def _send_folder(self, source: str, target: str) -> None:
        if self._remote_mode(target) is None:
            self._sftp.mkdir(target, 0o700)
        for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
            inner = f"{target}/{entry.name}"
            if entry.is_symlink():
                self._send_link(os.readlink(entry.path), inner)
            else:
                self._send(entry.path, inner)

    def _send_link(self, text: str, target: str) -> None:
        try:
            self._sftp.remove(target)
        except FileNotFoundError:
            pass
        # paramiko gives OpenSSH's server the two paths in the order that this one wants, not the draft's.
        self._sftp.symlink(text, target)

    def _send_file(self, source: str, target: str) -> None:
        draft = _draft(target)
        try:
            with open(source, "rb") as file:
                self._sftp.putfo(file, draft)
            self._sftp.posix_rename(draft, target)
        except BaseException:
            try:
                self._sftp.remove(draft)
            except (OSError, EOFError, paramiko.SSHException):
                pass  # it isn't there, or the connection has gone: then its name says what it is
            raise

    def _remote_status(self, path: str) -> paramiko.SFTPAttributes | None:
        with _naming(path):
            try:
                return self._sftp.stat(path)
            except FileNotFoundError:
                return None

    def _remote_mode(self, path: str) -> int | None:
        status = self._remote_status(path)
        return status.st_mode if status else None

    def _receive(self, source: str, target: str, status: paramiko.SFTPAttributes) -> None:
        """`status` is what a listing told already: each question is a round trip."""
        mode = status.st_mode or 0
        with _naming(source):
            if stat.S_ISDIR(mode):
                self._receive_folder(source, target)
            elif stat.S_ISREG(mode):
                self._receive_file(source, target, status.st_size or 0)
            else:
                self.skipped.append(source)
                return
            # Never set-uid: whoever is root in the guest chose these bits, and here they would be the user's.
            os.chmod(target, mode & 0o777)
            os.utime(target, (status.st_atime or 0, status.st_mtime or 0))

    def _receive_folder(self, source: str, target: str) -> None:
        if _local_mode(target) is None:
            os.mkdir(target, 0o700)
        for entry in sorted(self._sftp.listdir_attr(source), key=lambda entry: entry.filename):
            outer, inner = f"{source}/{entry.filename}", os.path.join(target, check_name(entry.filename))
            if os.path.islink(inner):
                os.unlink(inner)  # the guest may have made it lead elsewhere, in a copy before this one
            if stat.S_ISLNK(entry.st_mode or 0):
                self._receive_link(outer, inner)
            else:
                self._receive(outer, inner, entry)

    def _receive_link(self, source: str, target: str) -> None:
        if _local_mode(target) is not None:
            os.unlink(target)
        os.symlink(self._sftp.readlink(source) or "", target)

    def _receive_file(self, source: str, target: str, size: int) -> None:
        draft = _draft(target)
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                self._fetch(source, file, size)
            os.rename(draft, target)
        except BaseException:
            try:
                os.unlink(draft)
            except FileNotFoundError:
                pass
            raise

    def _fetch(self, source: str, file: BinaryIO, size: int) -> None:
        """A small file in one request, as large as it was announced. To its end where that says nothing (/proc)."""
        with self._sftp.open(source, "rb") as remote:
            if 0 < size <= _SMALL:
                file.write(remote.read(size))
                return
            remote.prefetch(size)
            while data := remote.read(_CHUNK):
                file.write(data)


def check_name(name: str) -> str:
    """A name in a folder, and no way out of it. Raises PeerMisbehaved."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise PeerMisbehaved(f"the machine lists a file by the name {name!r}")
    return name


def _place(target: str, name: str, mode: int | None, is_folder: bool) -> str:
    """Where the source goes; `mode` is what stands at `target` now. Raises InvalidArgument, NotFound."""
    if mode is not None and stat.S_ISDIR(mode):
        return target if name in ("", ".", "..") else f"{target.rstrip('/')}/{name}"
    if mode is None and target.endswith("/"):
        raise NotFound(f"{target}: no such folder")
    if mode is not None and is_folder:
        raise InvalidArgument(f"{target} is a file, and the source is a folder")
    return target


def _draft(target: str) -> str:
    folder, slash, name = target.rpartition("/")
    return f"{folder}{slash}.{name[:100]}.{secrets.token_hex(4)}"


def _local_mode(path: str) -> int | None:
    with _naming(path):
        try:
            return os.stat(path).st_mode
        except FileNotFoundError:
            return None


@contextmanager
def _naming(remote: str) -> Iterator[None]:
    """Translates what a file system says. This host's names its path; an error without one is SFTP's, of `remote`."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"{_place_of(error, remote)}: no such file or folder") from error
    except OSError as error:
        raise HostFailed(f"{_place_of(error, remote)}: {error.strerror or error}") from error
    except (EOFError, paramiko.SSHException) as error:
        raise Unavailable(f"the connection ended while {remote} was copied") from error


def _place_of(error: OSError, remote: str) -> str:
    return str(error.filename) if error.filename else f"{remote} in the machine"
