"""Key pairs that hostvm makes for itself: one by which a machine is known, one by which its user is let in.

Ed25519, in OpenSSH's own format, as paramiko can't write that format. They are no one else's: never added to an agent,
never read from `~/.ssh`.
"""

from __future__ import annotations

import io
import os
import secrets
from dataclasses import dataclass, field

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guest_agent.wire.errors import DataDamaged, HostFailed


@dataclass(frozen=True, slots=True)
class KeyPair:
    """`private` is the text of a file as ssh-keygen makes it; `public` is "ssh-ed25519 AAAA…", without a newline."""

    private: str = field(repr=False)
    public: str

    def parsed(self) -> paramiko.PKey:
        """As paramiko wants it."""
        return paramiko.Ed25519Key.from_private_key(io.StringIO(self.private))


def make_key_pair() -> KeyPair:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return KeyPair(private.decode(), _public_text(key))


def keep_key_pair(path: str) -> KeyPair:
    """The key pair whose private half is the file `path`; it is made when it isn't there.

    Two callers at once get the same one. Raises HostFailed, DataDamaged.
    """
    try:
        return read_key_pair(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise HostFailed(f"cannot read {path}: {error.strerror}") from error
    try:
        _write_once(path, make_key_pair().private)
        return read_key_pair(path)
    except OSError as error:
        raise HostFailed(f"cannot write {path}: {error.strerror}") from error


def read_key_pair(path: str) -> KeyPair:
    """Raises OSError, DataDamaged."""
    with open(path, encoding="ascii", errors="replace") as file:
        text = file.read()
    try:
        key = serialization.load_ssh_private_key(text.encode(), None)
    except ValueError as error:
        raise DataDamaged(f"the key in {path} can't be read", "move that file away: another key is made") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise DataDamaged(f"the key in {path} is not one of hostvm's", "move that file away: another key is made")
    return KeyPair(text, _public_text(key))


def _public_text(key: Ed25519PrivateKey) -> str:
    encoding, format = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return key.public_key().public_bytes(encoding, format).decode()


def _write_once(path: str, text: str) -> None:
    """Creates the file whole, unless somebody was first."""
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    draft = f"{path}.{secrets.token_hex(4)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(draft)
