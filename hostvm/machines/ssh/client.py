"""The client's end of SSH: a transport over a stream that is there already, to a peer whose key is known.

Nothing is prompted, nothing is looked up: who the peer must be, and who we are, is given by the caller.
"""

from __future__ import annotations

import socket

import paramiko

from guest_agent.wire.errors import Forbidden, PeerMisbehaved, Unavailable
from hostvm.machines.ssh.keys import KeyPair


def open_transport(
    stream: socket.socket, user: str, user_key: KeyPair, host_key: KeyPair, deadline: float
) -> paramiko.Transport:
    """An authenticated transport. `deadline` is in seconds from now, for the handshake.

    Raises Unavailable (no SSH server there), Forbidden (another key than `host_key`, or ours isn't let in). The stream
    is closed when it raises.
    """
    transport = paramiko.Transport(stream)
    transport.banner_timeout = transport.auth_timeout = deadline
    transport.get_security_options().key_types = ("ssh-ed25519",)
    try:
        transport.start_client(timeout=deadline)
        _check_peer(transport, host_key)
        transport.auth_publickey(user, user_key.parsed())
    except paramiko.AuthenticationException as error:
        transport.close()
        raise Forbidden(f"the machine doesn't let {user} in: {error}") from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        transport.close()
        raise Unavailable(f"the machine's SSH server doesn't answer: {error or type(error).__name__}") from error
    except Forbidden:
        transport.close()
        raise
    return transport


def _check_peer(transport: paramiko.Transport, host_key: KeyPair) -> None:
    found = transport.get_remote_server_key()
    if f"{found.get_name()} {found.get_base64()}" != host_key.public:
        raise Forbidden("whoever answers has another key than this machine")


def open_channel(transport: paramiko.Transport, deadline: float) -> paramiko.Channel:
    """A session's channel. Raises PeerMisbehaved."""
    try:
        return transport.open_session(timeout=deadline)
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise PeerMisbehaved(f"the machine's SSH server opens no session: {error}") from error
