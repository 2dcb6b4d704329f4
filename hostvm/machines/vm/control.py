"""The client's end of a machine's control.sock: one JSON line asks, one JSON line answers.

After the answer to "stream" the connection is that stream's raw bytes; after the one to "command" it carries the
frames of `guest_agent.wire.frames`, in both directions.
"""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass

from guest_agent.wire import frames
from guest_agent.wire.errors import Forbidden, HostvmError, PeerMisbehaved, Unavailable, error_from

#: No answer of one line is longer: the longest is the status, with the console's last lines.
MAX_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command in the guest ended. Standard error comes with standard output where the guest joins them."""

    code: int
    output: bytes
    errors: bytes = b""


def ask(path: str, request: dict[str, object], deadline: float) -> dict[str, object]:
    """The supervisor's answer. `deadline` in seconds from now.

    Raises Unavailable (no supervisor, no answer in time), Forbidden, PeerMisbehaved, or what the supervisor refuses
    with.
    """
    stream, answer = _converse(path, request, deadline)
    stream.close()
    return answer


def open_stream(path: str, request: dict[str, object], deadline: float) -> socket.socket:
    """A stream to a service of the guest; `deadline` bounds its opening only. Raises as `ask`."""
    stream, _ = _converse(path, {"op": "stream", "request": request}, deadline)
    stream.settimeout(None)
    return stream


def run_command(path: str, argv: list[str], deadline: float, input: bytes = b"") -> Outcome:
    """Runs a short command in the guest and collects its output; `input` is small. Raises as `ask`."""
    end = time.monotonic() + deadline
    stream, _ = _converse(path, {"op": "command", "argv": argv}, deadline)
    with stream:
        try:
            _send(stream, (frames.encode(frames.STDIN, input) if input else b"") + frames.encode(frames.STDIN_EOF))
            return _collect(stream, end)
        except (OSError, frames.FrameTooLarge) as error:
            raise PeerMisbehaved(f"the guest's command {argv[0]} was cut off: {error}") from error


def _send(stream: socket.socket, data: bytes) -> None:
    """A command that has ended already takes no input; what it said is there to be read all the same."""
    try:
        stream.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        pass


def _collect(stream: socket.socket, end: float) -> Outcome:
    decoder = frames.FrameDecoder()
    parts: dict[int, bytes] = {frames.STDOUT: b"", frames.STDERR: b""}
    while True:
        for kind, payload in decoder.feed(_receive(stream, end)):
            if kind == frames.ERROR:
                raise _refusal(json.loads(payload))
            if kind == frames.EXIT:
                code = int(json.loads(payload)["StatusCode"])
                return Outcome(code, parts[frames.STDOUT], parts[frames.STDERR])
            if kind in parts:
                parts[kind] += payload


def _receive(stream: socket.socket, end: float) -> bytes:
    """What has come. Raises OSError, TimeoutError and at the stream's end included."""
    stream.settimeout(max(0.001, end - time.monotonic()))
    data = stream.recv(1 << 16)
    if not data:
        raise ConnectionResetError("the stream ended")
    return data


def _converse(path: str, request: dict[str, object], deadline: float) -> tuple[socket.socket, dict[str, object]]:
    end = time.monotonic() + deadline
    stream = _connect(path)
    try:
        stream.sendall(json.dumps(request).encode() + b"\n")
        return stream, _parse(_read_line(stream, end))
    except TimeoutError as error:
        stream.close()
        raise Unavailable(f"the machine's supervisor doesn't answer within {deadline:.0f} seconds") from error
    except OSError as error:
        stream.close()
        raise Unavailable(f"the machine's supervisor ended the connection: {error}") from error
    except HostvmError:
        stream.close()
        raise


def _connect(path: str) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX)
    try:
        stream.connect(path)
    except PermissionError as error:
        stream.close()
        raise Forbidden(f"permission denied: {path} is another user's machine") from error
    except OSError as error:
        stream.close()
        raise Unavailable("the machine isn't running", "start it with: hostvm machine start") from error
    return stream


def _read_line(stream: socket.socket, end: float) -> bytes:
    """Up to the newline and not a byte further: what follows belongs to the stream."""
    line = bytearray()
    while b"\n" not in line:
        if len(line) > MAX_ANSWER:
            raise PeerMisbehaved("the supervisor's answer doesn't end")
        stream.settimeout(max(0.001, end - time.monotonic()))
        peeked = stream.recv(1 << 16, socket.MSG_PEEK)
        if not peeked:
            raise ConnectionResetError("it has gone")
        line += stream.recv(peeked.find(b"\n") + 1 or len(peeked))
    return bytes(line)


def _parse(line: bytes) -> dict[str, object]:
    try:
        answer = json.loads(line)
    except ValueError as error:
        raise PeerMisbehaved(f"the supervisor's answer is no JSON: {error}") from error
    if not isinstance(answer, dict):
        raise PeerMisbehaved("the supervisor's answer is no object")
    if "error" in answer:
        raise _refusal(answer["error"])
    return answer


def _refusal(fields: object) -> HostvmError:
    if not isinstance(fields, dict):
        return PeerMisbehaved("the supervisor refuses, and doesn't say why")
    return error_from(str(fields.get("kind")), str(fields.get("message") or "refused"), str(fields.get("hint") or ""))
