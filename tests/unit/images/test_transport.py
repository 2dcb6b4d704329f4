"""Where a registry's connection goes to: inside a machine, the user's loopback isn't the machine's."""

from __future__ import annotations

import http.server
import socket
import threading

import pytest

from guest_agent.images.transport import RegistrySettings, Transport, dial_address


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_loopback_is_the_users(host: str) -> None:
    assert dial_address(host, "10.0.2.2") == "10.0.2.2"
    assert dial_address(host, "") == host


@pytest.mark.parametrize("host", ["registry.example", "10.0.0.1", "localhost.example"])
def test_other_hosts_are_themselves(host: str) -> None:
    assert dial_address(host, "10.0.2.2") == host


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
