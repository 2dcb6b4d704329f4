"""One interpreter in the guest that answers all of a test's questions: emulated, its start takes a second or two.

It is begun again where its stream has ended: the machine was stopped, saved or killed in between.
"""

from __future__ import annotations

import inspect
import json
import socket
import threading
from typing import Any

from hostvm.machines.vm.control import open_stream
from tests.behaviour.harness import inside
from tests.behaviour.harness.waiting import patience

ARGV = ["/usr/bin/python3", "-I", "-c", inspect.getsource(inside)]


class Answerer:
    """`inside`'s questions for the guest behind a supervisor's control socket, one at a time."""

    def __init__(self, control_socket: str) -> None:
        self._path = control_socket
        self._lock = threading.Lock()
        self._stream: socket.socket | None = None

    def ask(self, question: str, *arguments: object) -> Any:
        """Raises AssertionError with what the guest says instead of an answer."""
        with self._lock:
            try:
                said = self._converse(json.dumps([question, *arguments]))
                assert said.startswith(b"{"), said.decode(errors="replace")
                return json.loads(said)["answer"]
            except BaseException:
                self._close()  # what comes late would be taken for the next answer
                raise

    def _converse(self, line: str) -> bytes:
        stream = self._open()
        stream.sendall(line.encode() + b"\n")
        said = bytearray()
        while not said.endswith(b"\n"):
            data = stream.recv(1 << 16)
            if not data:
                break
            said += data
        return bytes(said)

    def _open(self) -> socket.socket:
        if self._stream is not None and _has_ended(self._stream):
            self._close()
        if self._stream is None:
            self._stream = open_stream(self._path, {"to": "command", "argv": ARGV}, patience())
        self._stream.settimeout(patience())
        return self._stream

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _has_ended(stream: socket.socket) -> bool:
    """Nothing is to be said between two questions: what there is to read is the end."""
    stream.setblocking(False)
    try:
        stream.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
