"""A registry that breaks off, lies, redirects, stalls and wants tokens: a small server that does each on demand."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from .layouts import OCI, File, compress, digest_of, make_tar

LAYER = make_tar(File("data", os.urandom(400_000)))
BLOB = compress(LAYER, "gzip")[0]


class UnrulyRegistry(ThreadingHTTPServer):
    """One image under any name. `with` serves it; `behave` holds what it does wrong.

    Words: "cut" and "always-cut" (blobs break off), "no-range", "redirect" (blobs, to another host name), "token",
    "rate" (429 once; with "hours" for long), "lie" (about the manifest's digest), "gone" (no answer to anything),
    "stall" (a blob's second half doesn't come until `go_on` is set).
    """

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), _Handler)
        self.behave: set[str] = set()
        #: Path, Range, Authorization
        self.requests: list[tuple[str, str, str]] = []
        self.layers = {digest_of(BLOB): digest_of(LAYER)}
        self.blobs = {digest_of(BLOB): BLOB}
        self.on_missing: Callable[[], object] = lambda: None
        self.address = f"{host}:{self.server_address[1]}"
        self.stalled = threading.Event()  #: a client waits for the rest of a blob
        self.go_on = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    def __enter__(self) -> UnrulyRegistry:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        at: TracebackType | None = None,
    ) -> None:
        self.go_on.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def add_layer(self, tar: bytes) -> str:
        """One more layer of the image; its blob's digest."""
        blob = compress(tar, "gzip")[0]
        self.blobs[digest_of(blob)] = blob
        self.layers[digest_of(blob)] = digest_of(tar)
        return digest_of(blob)

    def manifest(self) -> bytes:
        rootfs = {"type": "layers", "diff_ids": list(self.layers.values())}
        config = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": rootfs}).encode()
        self.blobs[digest_of(config)] = config
        sizes = {digest: len(self.blobs.get(digest, b"")) or 1 for digest in self.layers}
        document = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": {"mediaType": "c", "digest": digest_of(config), "size": len(config)},
            "layers": [{"mediaType": "l", "digest": digest, "size": size} for digest, size in sizes.items()],
        }
        return json.dumps(document).encode()


class _Handler(BaseHTTPRequestHandler):
    server: UnrulyRegistry

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers["Range"] or "", self.headers["Authorization"] or ""))
        behave = self.server.behave
        if "gone" in behave:
            self.close_connection = True
        elif self.path.startswith("/token"):
            allowed = "basic" in (self.headers["Authorization"] or "").lower()
            self._answer(200 if allowed else 401, b'{"token": "t0k"}')
        elif "token" in behave and self.headers["Authorization"] != "Bearer t0k" and "/cdn" not in self.path:
            realm = f'Bearer realm="http://{self.server.address}/token",service="s"'
            self._answer(401, b"{}", {"WWW-Authenticate": realm})
        elif "rate" in behave:
            wait = "7200" if "hours" in behave else "0"
            behave.discard("rate")
            body = b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}'
            self._answer(429, body, {"Retry-After": wait})
        elif "/manifests/" in self.path:
            digest = "sha256:" + "0" * 64 if "lie" in behave else ""
            self._answer(200, self.server.manifest(), {"Docker-Content-Digest": digest})
        elif "redirect" in behave and "/cdn" not in self.path:
            port = self.server.server_address[1]
            self._answer(307, b"", {"Location": f"http://localhost:{port}/cdn{self.path}"})
        else:
            self._find_blob(self.path.rpartition("/")[2])

    def _find_blob(self, digest: str) -> None:
        if digest not in self.server.blobs:
            self.server.on_missing()
            self._answer(404, b"{}")
        else:
            self._send_blob(self.server.blobs[digest])

    def _send_blob(self, data: bytes) -> None:
        start = 0
        if self.headers["Range"] and "no-range" not in self.server.behave:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        body = data[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        large = len(body) > 1000
        cut = large and ("always-cut" in self.server.behave or "cut" in self.server.behave)
        if cut:
            self.server.behave.discard("cut")
        if large and "stall" in self.server.behave:
            self._stall(body)
        else:
            self.wfile.write(body[:100_000] if cut else body)
        self.close_connection = True

    def _stall(self, body: bytes) -> None:
        """Half of it; the rest when `go_on` says so, if there is still somebody who wants it."""
        half = len(body) // 2
        self.wfile.write(body[:half])
        self.wfile.flush()
        self.server.stalled.set()
        self.server.go_on.wait()
        try:
            self.wfile.write(body[half:])
        except OSError:
            pass

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silent."""
