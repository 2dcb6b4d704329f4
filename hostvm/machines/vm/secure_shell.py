"""SSH into the guest, with no listening port: a stream of the channel is the wire, `sshd -i` stands at its other end.

The stream starts as the standard input of a small shell script, which takes the keys from it, says "ready", and
becomes sshd. So keys are in no argv and on no disk of the guest (its root is in memory), each session brings its own,
and whoever answers proves by the host key that it was given them. sshd gets a pipe or a socket, never the virtio port:
over a bare port it hung, as that one reads as ended while its peer is away.

Its own messages go to a file: on the stream they would be taken for protocol.
"""

from __future__ import annotations

import secrets
import shlex
import socket
import time

import paramiko

from guest_agent.wire.errors import Unavailable
from hostvm.machines.ssh.client import open_transport
from hostvm.machines.ssh.keys import KeyPair, keep_key_pair
from hostvm.machines.vm.control import open_stream

#: Where in the guest this stands; /run is in memory there.
FOLDER = "/run/hostvm/ssh"
#: Where the guest has the shared folders, each at its path on the host below this one.
SHARED_FILES = "/run/hostvm/files"

_CONFIG = f"""\
HostKey {FOLDER}/host_key
AuthorizedKeysFile {FOLDER}/authorized_keys
AuthenticationMethods publickey
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PrintMotd no
PrintLastLog no
UseDNS no
AllowAgentForwarding yes
AcceptEnv LANG LC_* COLORTERM
Subsystem sftp internal-sftp
"""
_END = "hostvm-end"
_READY = b"hostvm-ready\n"
#: Each document is written beside its place and moved there: a session that comes at the same time reads whole ones.
_SCRIPT = f"""\
umask 077
mkdir -p {FOLDER} /run/sshd && cd {FOLDER} || exit 1
take() {{
    while IFS= read -r line && [ "$line" != {_END} ]; do printf '%s\\n' "$line"; done >"$1.$$" && mv "$1.$$" "$1"
}}
take config && take host_key && take authorized_keys && take links && . ./links || exit 1
echo {_READY.decode().strip()}
exec /usr/sbin/sshd -i -f config -E log
"""


def plan_request() -> dict[str, object]:
    """The service request of the stream."""
    return {"to": "command", "argv": ["/bin/sh", "-c", _SCRIPT]}


def plan_documents(host_key: KeyPair, user_key: KeyPair, shares: tuple[str, ...]) -> bytes:
    """What the script reads: configuration, keys, and links by which a shared folder has its path in the guest too."""
    documents = (_CONFIG, host_key.private, user_key.public + "\n", "".join(_link(share) for share in shares))
    return "".join(f"{text}{_END}\n" for text in documents).encode("utf-8", "surrogateescape")


def _link(share: str) -> str:
    """A path that the guest has already is left alone."""
    path, parent = shlex.quote(share), shlex.quote(share.rpartition("/")[0] or "/")
    return f"[ -e {path} ] || {{ mkdir -p {parent} && ln -sfn {shlex.quote(SHARED_FILES + share)} {path}; }}\n"


def plan_command(folder: str, command: list[str], pid_file: str = "") -> str:
    """The line for the guest's shell: `command` in the host's `folder` where that one is shared, else at home.

    One word is a line of shell, as with ssh; several are an argv, and stay apart as they are. [] is a login shell. The
    shell waits for the command, so that one ended by a signal has a code (128 + n), as in every shell. While it runs,
    its process group stands in `pid_file`, for `plan_signal`.
    """
    files, path = shlex.quote(SHARED_FILES + folder), shlex.quote(folder)
    enter = f"if cd {files} 2>/dev/null && [ {path} -ef . ]; then cd {path}; fi; "
    if not command:
        return enter + 'exec "${SHELL:-/bin/sh}" -l'
    line = command[0] if len(command) == 1 else shlex.join(command)
    if not pid_file:
        return f"{enter}{line}\nexit $?"
    return f"echo $$ >{pid_file}; trap 'rm -f {pid_file}' EXIT; {enter}{line}\nexit $?"


def make_pid_file() -> str:
    """A name that no other session has."""
    return f"{FOLDER}/pid-{secrets.token_hex(8)}"


def plan_signal(pid_file: str, signal: str) -> str:
    """The line that sends a signal ("TERM") to the command of `plan_command` and to all that it started."""
    return f'kill -{signal} "-$(cat {pid_file})"; rm -f {pid_file}'


def connect_shell(control: str, keys: str, shares: tuple[str, ...], deadline: float) -> paramiko.Transport:
    """An authenticated transport to the guest of the supervisor at `control`; its keys are kept in the folder `keys`.

    Raises Unavailable, Forbidden, DataDamaged, HostFailed.
    """
    host_key, user_key = keep_key_pair(f"{keys}/guest_ed25519"), keep_key_pair(f"{keys}/user_ed25519")
    end = time.monotonic() + deadline
    stream = open_stream(control, plan_request(), deadline)
    try:
        stream.settimeout(deadline)
        stream.sendall(plan_documents(host_key, user_key, shares))
        wait_ready(stream, end)
    except OSError as error:
        stream.close()
        raise Unavailable(f"the guest's SSH server can't be started: {error}") from error
    except Unavailable:
        stream.close()
        raise
    return open_transport(stream, "root", user_key, host_key, max(1.0, end - time.monotonic()))


def wait_ready(stream: socket.socket, end: float) -> None:
    """Reads up to the script's last word, and no byte of sshd's. Raises OSError, Unavailable with what it said."""
    said = b""
    while not said.endswith(_READY):
        stream.settimeout(max(0.001, end - time.monotonic()))
        byte = stream.recv(1)
        said += byte
        if not byte or len(said) > 1 << 14:
            reason = said.decode(errors="replace").strip().rpartition("\n")[2]
            raise Unavailable(f"the guest's SSH server can't be started: {reason or 'no reason was given'}")
