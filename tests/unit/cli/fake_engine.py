"""A small engine on a unix socket: it answers by a table, runs a few commands by hand, and remembers what it was asked.

It speaks HTTP/1.1 and the private exchange, and knows nothing of containers. What it answers in `SCENES` is what the
real engine must do too; `test_foreground.py` says which.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from guest_agent.wire import frames

Frames = list[tuple[int, bytes]]
ID = "c0ffee" + "0" * 58


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        return json.loads(self.body or b"{}")  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Reply:
    body: object = None
    status: int = 200
    chunked: bool = False


@dataclass
class Peer:
    """The engine's end of a session."""

    stream: socket.socket
    request: dict[str, object]
    received: Frames = field(default_factory=list)
    decoder: frames.FrameDecoder = field(default_factory=frames.FrameDecoder)
    _ready: Frames = field(default_factory=list)

    def send(self, kind: int, payload: object = b"") -> None:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.stream.sendall(frames.encode(kind, data))

    def begin(self) -> None:
        self.send(frames.CREATED, {"Id": ID, "Warnings": []})
        self.send(frames.STARTED, {"Id": ID})

    def end(self, code: int) -> None:
        self.send(frames.EXIT, {"StatusCode": code})

    def next(self) -> tuple[int, bytes]:
        """The client's next frame; (-1, b"") at the stream's end."""
        while not self._ready:
            data = self.stream.recv(1 << 16)
            if not data:
                return -1, b""
            self._ready = self.decoder.feed(data)
        frame = self._ready.pop(0)
        self.received.append(frame)
        return frame


class FakeEngine:
    """Serves until the `with` ends. `replies` maps "METHOD /path" (without version and query) to a Reply."""

    def __init__(
        self, path: Path, replies: dict[str, Reply] | None = None, scene: Callable[[Peer], None] | None = None
    ):
        self.path = path
        self.replies = replies or {}
        self.scene = scene
        self.requests: list[Request] = []
        self.peers: list[Peer] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(8)

    def __enter__(self) -> FakeEngine:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(stream,), daemon=True).start()

    def _serve(self, stream: socket.socket) -> None:
        with stream:
            request = _read_request(stream)
            if request is None:
                return
            self.requests.append(request)
            if request.headers.get("upgrade") == "hostvm-session" and self.scene:
                self._session(stream, request)
            else:
                _answer(stream, self._reply(request))

    def _reply(self, request: Request) -> Reply:
        path = request.path.removeprefix("/v1.44").partition("?")[0]
        missing = Reply({"message": f"No such container: {path.split('/')[2:3]}", "kind": "not-found"}, 404)
        return self.replies.get(f"{request.method} {path}", missing)

    def _session(self, stream: socket.socket, request: Request) -> None:
        assert self.scene
        stream.sendall(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: hostvm-session\r\n\r\n")
        peer = Peer(stream, request.json)
        self.peers.append(peer)
        try:
            self.scene(peer)
        except (BrokenPipeError, ConnectionResetError):
            pass


def _read_request(stream: socket.socket) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = stream.recv(1 << 16)
        if not chunk:
            return None
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += stream.recv(1 << 16)
    return Request(method, path, headers, body)


def _answer(stream: socket.socket, reply: Reply) -> None:
    body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    if reply.status == 204:
        stream.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    elif reply.chunked:
        stream.sendall(f"HTTP/1.1 {reply.status} X\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for start in range(0, len(body), 7):
            part = body[start : start + 7]
            stream.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        stream.sendall(b"0\r\n\r\n")
    else:
        stream.sendall(f"HTTP/1.1 {reply.status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def echo(peer: Peer) -> None:
    """`run busybox echo hello`."""
    peer.begin()
    peer.send(frames.STDOUT, b"hello\n")
    peer.send(frames.STDERR, b"talk\n")
    peer.end(0)


def cat(peer: Peer) -> None:
    """`run -i busybox cat`: input comes back until it ends."""
    peer.begin()
    while True:
        kind, payload = peer.next()
        if kind == frames.STDIN:
            peer.send(frames.STDOUT, payload)
        elif kind in (frames.STDIN_EOF, -1):
            break
    peer.end(3)


def until_signal(peer: Peer) -> None:
    """Says that it is up, and exits with 128 + the signal that it is sent."""
    peer.begin()
    peer.send(frames.STDOUT, b"up\n")
    kind, payload = peer.next()
    assert kind == frames.SIGNAL
    name = json.loads(payload)["signal"]
    peer.end(128 + {"TERM": 15, "INT": 2, "USR1": 10}[name])


def yes(peer: Peer) -> None:
    """Output without end."""
    peer.begin()
    while True:
        peer.send(frames.STDOUT, b"y\n" * 4096)


def missing_command(peer: Peer) -> None:
    peer.send(frames.CREATED, {"Id": ID, "Warnings": ["Your kernel does not support swap limit"]})
    peer.send(
        frames.ERROR, {"kind": "command-not-found", "message": 'exec: "nosuch": not found', "hint": "is it in PATH?"}
    )


def pulling(peer: Peer) -> None:
    peer.send(frames.PROGRESS, {"status": "Unable to find image 'busybox:latest' locally"})
    for status in ("Pulling fs layer", "Pull complete"):
        peer.send(frames.PROGRESS, {"id": "abc", "status": status, "progressDetail": {}})
    peer.send(frames.PROGRESS, {"id": "abc", "status": "Downloading", "progressDetail": {"current": 1, "total": 2}})
    echo(peer)


def detached(peer: Peer) -> None:
    peer.begin()
    peer.send(frames.STDOUT, b"$ ")
    peer.send(frames.DETACHED)


def background(peer: Peer) -> None:
    """-d: the stream ends after STARTED."""
    peer.begin()


def engine_dies(peer: Peer) -> None:
    peer.begin()
    peer.send(frames.STDOUT, b"first\n")


def terminal(peer: Peer) -> None:
    """Gives back what is typed, and says each size it is told; ends at ctrl-d."""
    peer.begin()
    while True:
        kind, payload = peer.next()
        if kind == frames.RESIZE:
            size = json.loads(payload)
            peer.send(frames.STDOUT, f"size {size['h']}x{size['w']}\r\n".encode())
        elif kind == frames.STDIN and b"\x04" in payload:
            break
        elif kind == frames.STDIN:
            peer.send(frames.STDOUT, repr(payload).encode() + b"\r\n")
        elif kind == -1:
            return
    peer.end(7)


SCENES = {
    scene.__name__: scene
    for scene in (
        echo, cat, until_signal, yes, missing_command, pulling, detached, background, engine_dies, terminal,
    )
}  # fmt: skip


def main() -> None:
    """`python -m tests.unit.cli.fake_engine SOCKET SCENE`: for trying the command line by hand."""
    import sys

    path, scene = Path(sys.argv[1]), SCENES[sys.argv[2]]
    if path.exists():
        os.unlink(path)
    with FakeEngine(path, {}, scene):
        time.sleep(3600)


if __name__ == "__main__":
    main()
