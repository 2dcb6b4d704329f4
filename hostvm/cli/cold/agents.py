"""The user's ssh agents lent to a build, wherever its engine is (guest_agent/engine/lent_agents.py).

Of each agent one connection to the engine, a line, waits for a step that asks; then the next one is opened. By threads:
the build itself is waited for meanwhile. They end with their lines, or this process.
"""

from __future__ import annotations

import os
import threading
from _socket import SHUT_RDWR
from _socket import socket as Socket
from collections.abc import Mapping
from contextlib import closing, suppress

from guest_agent.wire.errors import HostvmError
from hostvm.client.connection import Engine, connect_unix

_PIECE = 32 << 10


def lend(engine: Engine, agents: Mapping[str, str]) -> dict[str, str]:
    """`agents`: id -> the agent's socket. Gives id -> token, for the build's request."""
    tokens = {identity: os.urandom(16).hex() for identity in agents}
    for identity, path in agents.items():
        threading.Thread(target=_keep_lending, args=(engine, tokens[identity], path), daemon=True).start()
    return tokens


def _keep_lending(engine: Engine, token: str, path: str) -> None:
    while True:
        try:
            line, asked = engine.upgrade(f"/hostvm/agent?token={token}", None, "hostvm-agent")
            asked = asked or line.recv(_PIECE)
        except (HostvmError, OSError):
            return  # the engine is gone, and with it who would ask
        if not asked:
            return
        threading.Thread(target=_serve, args=(line, asked, path), daemon=True).start()


def _serve(line: Socket, asked: bytes, path: str) -> None:
    with closing(line):
        try:
            agent = connect_unix(path)
        except OSError:
            return  # who asked hears the end of the line
        with closing(agent), suppress(OSError):
            agent.sendall(asked)
            answering = threading.Thread(target=_carry, args=(agent, line), daemon=True)
            answering.start()
            _carry(line, agent)
            answering.join()


def _carry(source: Socket, target: Socket) -> None:
    """One way, until the source has ended; then neither is of use any more."""
    with suppress(OSError):  # one of them is gone
        while data := source.recv(_PIECE):
            target.sendall(data)
    for one in (source, target):
        with suppress(OSError):  # the other way has done it
            one.shutdown(SHUT_RDWR)
