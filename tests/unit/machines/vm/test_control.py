"""The client's end of control.sock, before a supervisor that answers by hand."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guest_agent.wire import frames
from guest_agent.wire.errors import Conflict, Forbidden, PeerMisbehaved, Unavailable
from hostvm.machines.vm.control import ask, open_stream, run_command

Scene = Callable[[socket.socket, dict[str, object]], None]


@contextmanager
def supervisor(path: Path, scene: Scene) -> Iterator[str]:
    """Answers one client by the scene."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            client, _ = listener.accept()
            with client, client.makefile("rb") as lines:
                scene(client, json.loads(lines.readline()))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield str(path)
        thread.join(5)


def answering(answer: bytes) -> Scene:
    return lambda client, _request: client.sendall(answer)


def test_a_request_and_its_answer(tmp_path: Path) -> None:
    asked: list[object] = []

    def scene(client: socket.socket, request: dict[str, object]) -> None:
        asked.append(request)
        client.sendall(b'{"state": "running"}\n')

    with supervisor(tmp_path / "c", scene) as path:
        assert ask(path, {"op": "status"}, 5) == {"state": "running"}
    assert asked == [{"op": "status"}]


def test_what_follows_the_answer_is_the_streams(tmp_path: Path) -> None:
    with supervisor(tmp_path / "c", answering(b"{}\nSSH-2.0-first bytes")) as path:
        stream = open_stream(path, {"to": "echo"}, 5)
        assert stream.recv(100) == b"SSH-2.0-first bytes"
        stream.close()


def test_a_refusal_keeps_its_kind_and_hint(tmp_path: Path) -> None:
    answer = {"error": {"kind": "conflict", "message": "the machine is saving", "hint": "wait"}}
    with (
        supervisor(tmp_path / "c", answering(json.dumps(answer).encode() + b"\n")) as path,
        pytest.raises(Conflict) as caught,
    ):
        ask(path, {"op": "stop"}, 5)
    assert (caught.value.message, caught.value.hint) == ("the machine is saving", "wait")


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (b"", Unavailable, "ended the connection"),
        (b"nonsense\n", PeerMisbehaved, "is no JSON"),
        (b"[1]\n", PeerMisbehaved, "is no object"),
        (b'{"error": 3}\n', PeerMisbehaved, "doesn't say why"),
    ],
)
def test_answers_that_are_none(tmp_path: Path, answer: bytes, error: type[Exception], text: str) -> None:
    with supervisor(tmp_path / "c", answering(answer)) as path, pytest.raises(error, match=text):
        ask(path, {"op": "status"}, 5)


def test_a_supervisor_that_hangs(tmp_path: Path) -> None:
    done = threading.Event()

    def hang(_client: socket.socket, _request: dict[str, object]) -> None:
        done.wait(5)

    with supervisor(tmp_path / "c", hang) as path:
        with pytest.raises(Unavailable, match="doesn't answer within"):
            ask(path, {"op": "status"}, 0.1)
        done.set()


def test_no_supervisor(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        ask(str(tmp_path / "none"), {"op": "status"}, 5)
    assert caught.value.hint == "start it with: hostvm machine start"


def test_another_users_supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_stream: socket.socket, _path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(Forbidden, match="another user's machine"):
        ask(str(tmp_path / "c"), {"op": "status"}, 5)


def test_a_commands_output_and_code(tmp_path: Path) -> None:
    def scene(client: socket.socket, request: dict[str, object]) -> None:
        assert request == {"op": "command", "argv": ["cat"]}
        client.sendall(b"{}\n")
        decoder = frames.FrameDecoder()
        got: list[tuple[int, bytes]] = []
        while len(got) < 2:
            got += decoder.feed(client.recv(1 << 16))
        assert got == [(frames.STDIN, b"hello"), (frames.STDIN_EOF, b"")]
        client.sendall(frames.encode(frames.STDOUT, b"hel") + frames.encode(frames.STDOUT, b"lo"))
        client.sendall(frames.encode(frames.STDERR, b"oh") + frames.encode(frames.EXIT, b'{"StatusCode": 3}'))

    with supervisor(tmp_path / "c", scene) as path:
        outcome = run_command(path, ["cat"], 5, b"hello")
    assert (outcome.code, outcome.output, outcome.errors) == (3, b"hello", b"oh")


def test_a_command_that_is_cut_off(tmp_path: Path) -> None:
    with (
        supervisor(tmp_path / "c", answering(b"{}\n" + frames.encode(frames.STDOUT, b"x"))) as path,
        pytest.raises(PeerMisbehaved, match="command cat was cut off"),
    ):
        run_command(path, ["cat"], 5)
