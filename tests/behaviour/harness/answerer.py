"""One interpreter in the guest that answers all of a test's questions: emulated, its start takes a second or two.

It is begun again where its stream has ended: the machine was stopped, saved or killed between two questions.
"""

from __future__ import annotations

import inspect
import json
import socket
import threading
from typing import Any

from guest_agent.wire.errors import Unavailable
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
        """Raises Unavailable where the guest or its agent goes meanwhile, AssertionError with what Python says."""
        with self._lock:
            try:
                said = self._converse(json.dumps([question, *arguments]))
            except OSError as error:
                self._close()
                raise Unavailable(f"the guest doesn't answer: {error}") from error
            except BaseException:
                self._close()  # what comes late would be taken for the next answer
                raise
            if not said.startswith(b"{"):
                raise AssertionError((said + self._rest()).decode(errors="replace"))
            return json.loads(said)["answer"]

    def close(self) -> None:
        with self._lock:
            self._close()

    def _converse(self, line: str) -> bytes:
        """Not again where it fails: most questions may be asked twice, but a signal isn't sent twice."""
        stream = self._open()
        stream.sendall(line.encode() + b"\n")
        said = bytearray()
        while not said.endswith(b"\n"):
            data = stream.recv(1 << 16)
            if not data:
                raise ConnectionResetError("its stream has ended")
            said += data
        return bytes(said)

    def _rest(self) -> bytes:
        """What Python says before it ends."""
        assert self._stream is not None
        with self._stream.makefile("rb") as file:
            said = file.read()
        self._close()
        return said

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
