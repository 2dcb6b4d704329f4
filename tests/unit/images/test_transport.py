"""Where a registry's connection goes to: inside a machine, the user's loopback isn't the machine's."""

from __future__ import annotations

import http.server
import socket
import threading

import pytest

from guest_agent.images.transport import RegistrySettings, Transport


class _Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.headers["Host"].encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_the_host_header_stays() -> None:
    """The server listens on one loopback address only, which stands for the machine's way to its host."""
    server = http.server.HTTPServer(("127.0.0.2", 0), _Echo)
    port = server.server_address[1]
    threading.Thread(target=server.handle_request, daemon=True).start()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), 1)
    transport = Transport(RegistrySettings(host_address="127.0.0.2", timeout=5))
    assert transport.request(f"http://localhost:{port}/v2/", {}).body(100) == f"localhost:{port}".encode()
    server.server_close()
