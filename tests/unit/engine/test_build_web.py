"""Downloads that are ended by somebody else: nothing waits for a server that says nothing."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guest_agent.build.trees import ContextTree
from guest_agent.engine.build_web import Download
from guest_agent.store.threads import open_in_thread
from guest_agent.wire.errors import HostFailed, HostvmError, PeerMisbehaved, Unavailable
from tests.unit.descriptors import open_descriptors


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def url_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}/file"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
def test_a_cancelled_download_ends_at_once(listener: socket.socket, tmp_path: Path, answer: bytes) -> None:
    """The server has taken the request and says no more; the thread waits for it, and would for a minute."""

    async def scenario() -> None:
        before = open_descriptors()
        download = Download(url_of(listener), str(tmp_path))
        ended = threading.Event()

        def fetch() -> tuple[ContextTree, str]:
            try:
                return download.file()
            finally:
                ended.set()

        opening = asyncio.create_task(open_in_thread(fetch, lambda opened: opened[0].close(), download.abort))
        line, _ = await asyncio.to_thread(listener.accept)
        await asyncio.to_thread(line.recv, 4096)
        line.sendall(answer)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert await asyncio.to_thread(ended.wait, 30)
        line.close()
        assert open_descriptors() <= before

    asyncio.run(scenario())


def test_a_greeting_of_tls_without_an_answer_is_ended(listener: socket.socket, tmp_path: Path) -> None:
    """The loopback of the machine's host is reached by https, too: 127.0.0.1 stands for the way there."""
    before, failures = open_descriptors(), list[HostvmError]()
    url = f"https://localhost:{listener.getsockname()[1]}/file"
    download = Download(url, str(tmp_path), host_address="127.0.0.1")

    def fetch() -> None:
        with pytest.raises(HostvmError) as raised:
            download.file()
        failures.append(raised.value)

    thread = threading.Thread(target=fetch)
    thread.start()
    line, _ = listener.accept()
    with line:
        assert b"localhost" in line.recv(4096)  # the name in the greeting is the user's
        download.abort()
        thread.join(30)
        assert failures
    assert open_descriptors() <= before


def test_what_was_aborted_before_it_began_ends_too(listener: socket.socket, tmp_path: Path) -> None:
    download = Download(url_of(listener), str(tmp_path))
    download.abort()
    with pytest.raises(HostvmError):
        download.file()


@contextmanager
def answering(listener: socket.socket, answer: bytes) -> Iterator[None]:
    """One request."""

    def serve() -> None:
        line, _ = listener.accept()
        with line:
            line.recv(4096)
            line.sendall(b"HTTP/1.1 " + answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield
    thread.join()


def test_a_short_answer_is_none(listener: socket.socket, tmp_path: Path) -> None:
    before = open_descriptors()
    with (
        answering(listener, b"200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        pytest.raises(PeerMisbehaved, match="unexpected EOF"),
    ):
        Download(url_of(listener), str(tmp_path)).file()
    assert open_descriptors() <= before


def test_a_line_that_breaks_is_not_the_hosts_fault(listener: socket.socket, tmp_path: Path) -> None:
    """A close that lingers for no time sends a reset: reading fails with an OSError, as a full disk does."""
    before = open_descriptors()

    def serve() -> None:
        line, _ = listener.accept()
        with line:
            line.recv(4096)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(Unavailable, match=r'^Get "http://.*": connection reset by peer'):
        Download(url_of(listener), str(tmp_path)).file()
    thread.join()
    assert open_descriptors() <= before


def test_a_redirect_leads_to_the_web_only(listener: socket.socket, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        answering(listener, b"302 Found\r\nLocation: ftp://127.0.0.1:%d/file\r\n\r\n" % other.getsockname()[1]),
    ):
        with pytest.raises(Unavailable, match="unknown url type: ftp"):
            Download(url_of(listener), str(tmp_path)).file()
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()


def test_a_full_disk_is_told(listener: socket.socket, tmp_path: Path) -> None:
    """What fits is written before: the kernel calls that a success."""
    before, (usual, most) = open_descriptors(), resource.getrlimit(resource.RLIMIT_FSIZE)
    with answering(listener, b"200 OK\r\nContent-Length: 8\r\n\r\ncontents"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (4, most))
        try:
            with pytest.raises(HostFailed, match="file too large"):
                Download(url_of(listener), str(tmp_path)).file()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (usual, most))
    assert open_descriptors() <= before


def test_the_users_loopback_is_reached_from_a_machine(tmp_path: Path) -> None:
    """127.0.0.2 stands for the machine's way to its host; the server is asked by the name that the user gave."""
    with socket.create_server(("127.0.0.2", 0)) as listening:
        asked: list[bytes] = []

        def serve() -> None:
            line, _ = listening.accept()
            with line:
                asked.append(line.recv(4096))
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfile")

        thread = threading.Thread(target=serve)
        thread.start()
        port = listening.getsockname()[1]
        tree, name = Download(f"http://localhost:{port}/a%20b", str(tmp_path), host_address="127.0.0.2").file()
        thread.join()
    assert (name, tree.read("a b", 9)) == ("a b", b"file")
    assert f"Host: localhost:{port}".encode() in asked[0]
    tree.close()
