"""The single exchange of our own client, frame by frame."""

from __future__ import annotations

import json
import socket
import time

import pytest

from guest_agent.wire import frames
from tests.unit.api.conftest import Api
from tests.unit.http.serving import receive_all

RUN = {"Name": "web", "Config": {"Image": "busybox"}, "AttachStdout": True, "AttachStderr": True}


def decode(data: bytes) -> list[tuple[int, object]]:
    """Frames, those with JSON parsed."""
    raw = (frames.STDOUT, frames.STDERR, frames.DETACHED)
    return [(kind, body if kind in raw else json.loads(body)) for kind, body in frames.FrameDecoder().feed(data)]


def exchange(api: Api, path: str, body: object, typed: bytes = b"") -> list[tuple[int, object]]:
    head, client = api.hijack(path, body, upgrade="hostvm-session")
    assert head.startswith(b"HTTP/1.1 101") and b"Upgrade: hostvm-session" in head, head
    client.sendall(typed)
    client.shutdown(socket.SHUT_WR)
    return decode(receive_all(client))


def test_a_run_is_one_exchange(api: Api) -> None:
    found = exchange(api, "/v1.44/hostvm/run", {**RUN, "Pull": "always"})
    kinds = [kind for kind, _ in found]
    assert kinds == [frames.PROGRESS] * 2 + [
        frames.CREATED, frames.STARTED, frames.STDOUT, frames.STDERR, frames.EXIT,
    ]  # fmt: skip
    assert found[-1] == (frames.EXIT, {"StatusCode": 3})


def test_input_goes_to_the_container(api: Api) -> None:
    body = {**RUN, "Config": {"Image": "busybox", "OpenStdin": True}, "AttachStdin": True}
    typed = b"".join(
        (
            frames.encode(frames.RESIZE, b'{"h": 24, "w": 80}'),
            frames.encode(frames.SIGNAL, b'{"signal": "HUP"}'),
            frames.encode(frames.STDIN, b"typed"),
            frames.encode(frames.STDIN_EOF),
        )
    )
    found = exchange(api, "/hostvm/run", body, typed)
    assert (frames.STDOUT, b"TYPED") in found and found[-1] == (frames.EXIT, {"StatusCode": 3})
    assert ("kill", "web", "HUP") in api.engine.containers.calls
    assert next(iter(api.engine.containers.attachments.values())).sizes == [(24, 80)]


def test_detach_keys_end_with_a_frame_of_their_own(api: Api) -> None:
    body = {**RUN, "Config": {"Image": "busybox", "OpenStdin": True}, "AttachStdin": True}
    found = exchange(api, "/hostvm/run", body, frames.encode(frames.STDIN, b"\x10\x11"))
    assert found[-1] == (frames.DETACHED, b"")


def test_a_detached_run_ends_when_it_has_started(api: Api) -> None:
    found = exchange(api, "/hostvm/run", {**RUN, "Detach": True})
    assert [kind for kind, _ in found] == [frames.CREATED, frames.STARTED]


@pytest.mark.parametrize(
    ("config", "kind"),
    [({"Image": "nosuch"}, "not-found"), ({"Image": "busybox", "Cmd": ["nosuch"]}, "command-not-found")],
)
def test_a_failure_is_the_last_frame(api: Api, config: object, kind: str) -> None:
    last, error = exchange(api, "/hostvm/run", {**RUN, "Config": config})[-1]
    assert last == frames.ERROR and isinstance(error, dict) and error["kind"] == kind


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("run", {**RUN, "Pull": "sometimes"}, b"400"),
        ("run", {**RUN, "Config": {"Image": "busybox", "Env": [5]}}, b"400"),
        ("exec", {"Container": "nosuch", "Exec": {"Cmd": ["ls"]}}, b"404"),
        ("attach", {"Container": "nosuch"}, b"404"),
    ],
)
def test_what_is_wrong_with_the_request_is_an_http_error(api: Api, path: str, body: object, status: bytes) -> None:
    head, _ = api.hijack(f"/hostvm/{path}", body, upgrade="hostvm-session")
    assert head.startswith(b"HTTP/1.1 " + status)


def test_the_exchange_needs_its_upgrade(api: Api) -> None:
    assert api.message("POST", "/hostvm/run", RUN)[0] == 400


def test_exec_and_attach(api: Api) -> None:
    api.create("web", Cmd=["sleep"])
    attached = exchange(api, "/hostvm/attach", {"Container": "web", "Start": True, "AttachStdout": True})
    assert [kind for kind, _ in attached] == [frames.STARTED, frames.STDOUT, frames.STDERR, frames.EXIT]
    executed = exchange(api, "/hostvm/exec", {"Container": "web", "Exec": {"Cmd": ["ls"], "AttachStdout": True}})
    assert [kind for kind, _ in executed] == [
        frames.CREATED, frames.STARTED, frames.STDOUT, frames.STDERR, frames.EXIT,
    ]  # fmt: skip


@pytest.mark.parametrize("typed", [b"", frames.encode(frames.STDIN, b"x")])
def test_a_client_that_goes_while_an_image_is_pulled_ends_the_run(api: Api, typed: bytes) -> None:
    _, client = api.hijack("/hostvm/run", {**RUN, "Config": {"Image": "endless"}}, upgrade="hostvm-session")
    client.sendall(typed)
    client.close()
    deadline = time.monotonic() + 5
    while not api.engine.runs.cancelled:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("typed", [frames.encode_header(frames.STDIN, 1 << 31), frames.encode(frames.RESIZE, b"{")])
def test_nonsense_instead_of_frames_is_refused(api: Api, typed: bytes) -> None:
    body = {**RUN, "Config": {"Image": "busybox", "OpenStdin": True}, "AttachStdin": True}
    last, error = exchange(api, "/hostvm/run", body, typed)[-1]
    assert last == frames.ERROR and isinstance(error, dict)
    assert error["kind"] in ("peer-misbehaved", "invalid-argument")
