"""A real registry (Debian's docker-registry) on loopback, and skopeo to fill it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

_CONFIG = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
{auth}
"""
_BASIC = 'auth: {{htpasswd: {{realm: "test", path: {path}}}}}'


class RegistryProcess:
    """`with RegistryProcess(folder) as registry: … registry.address`."""

    def __init__(self, folder: Path, htpasswd: str = "") -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.blobs = folder / "docker/registry/v2/blobs/sha256"
        auth = ""
        if htpasswd:
            (folder / "htpasswd").write_text(htpasswd)
            auth = _BASIC.format(path=folder / "htpasswd")
        self._config = folder / "config.yml"
        self._config.write_text(_CONFIG.format(root=folder, port=self.port, auth=auth))

    def __enter__(self) -> RegistryProcess:
        self._process = subprocess.Popen(
            ["docker-registry", "serve", os.fspath(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until_it_listens(self.port)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait()

    def push(self, layout: Path, name: str, *options: str) -> None:
        """An OCI layout -> `name` here, by skopeo."""
        target = f"docker://{self.address}/{name}"
        argv = ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", *options, f"oci:{layout}", target]
        subprocess.run(argv, check=True, capture_output=True)

    def blob_file(self, digest: str) -> Path:
        encoded = digest.removeprefix("sha256:")
        return self.blobs / encoded[:2] / encoded / "data"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + 15
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
