"""Latency of a published port, with one and the same small server inside the container of every contender."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from tests.bench.contenders import Contender
from tests.bench.processes import end, run

#: Runs in the container's network namespace: answers each connection's request with a line, one after another.
SERVER = """
import socket
listener = socket.create_server(("0.0.0.0", 80), backlog=128)
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 6\\r\\n\\r\\nhello\\n")
"""
REQUEST = b"GET / HTTP/1.0\r\n\r\n"


def measure_port(contender: Contender, port: int, count: int) -> dict[str, list[float]]:
    """Microseconds of `count` requests each on 127.0.0.1 and on the container's address, one by one in turn."""
    argv = contender.run_command("-d", "-p", f"{port}:80", "busybox", "sleep", "3600")
    container = run(argv, contender.environment)
    pid, address = find_process_and_address(contender, container)
    enter = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-I", "-S", "-c", SERVER]
    with subprocess.Popen(enter, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        try:
            return in_turn(
                {
                    f"{contender.name} 127.0.0.1": lambda: microseconds("127.0.0.1", port),
                    f"{contender.name} own address": lambda: microseconds(address, 80),
                },
                count,
            )
        finally:
            end(server)
            run(contender.command("rm", "--force", container), contender.environment)


def in_turn(measures: dict[str, Callable[[], float]], count: int) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(count + 20):
        for name, measure in measures.items():
            value = measure()
            if number >= 20:
                samples[name].append(value)
    return samples


def find_process_and_address(contender: Contender, container: str) -> tuple[int, str]:
    """The container's pid on the host and its address on the bridge."""
    (seen,) = json.loads(run(contender.command("inspect", container), contender.environment))
    settings = seen["NetworkSettings"]
    addresses = [network["IPAddress"] for network in settings["Networks"].values()]
    return seen["State"]["Pid"], addresses[0] or settings["IPAddress"]


def microseconds(host: str, port: int) -> float:
    """One connection with one request, until the peer has closed."""
    begin = time.perf_counter()
    with socket.create_connection((host, port), timeout=10) as connection:
        connection.sendall(REQUEST)
        while connection.recv(4096):
            pass
    return (time.perf_counter() - begin) * 1e6
