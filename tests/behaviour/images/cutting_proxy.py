"""A TCP proxy on loopback that cuts connections: what a bad line does to an upload."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType


class CuttingProxy:
    """`with CuttingProxy(port) as proxy: … proxy.address`. Each connection that sends more than `limit` bytes is cut,
    as long as there are `cuts`. `sent` counts the bytes that clients sent.
    """

    def __init__(self, port: int, limit: int, cuts: int) -> None:
        self._port = port
        self._limit = limit
        self.cuts = cuts
        self.sent = 0
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> CuttingProxy:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            for way in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=way, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, is_upload: bool) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(1 << 16):
                passed += len(data)
                if is_upload and self._cuts_here(len(data), passed):
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        target.close()

    def _cuts_here(self, size: int, passed: int) -> bool:
        with self._lock:
            self.sent += size
            if passed <= self._limit or not self.cuts:
                return False
            self.cuts -= 1
            return True
