"""The guest of the channel's benchmark: its first process, in place of ours. Runs in the guest.

It starts the agent on the channel's port, and serves a second port, and a unix socket, with the plainest program that
there is: blocking reads and writes. Requests are an operation and a count: "e" echoes so many messages, "k" takes so
many bytes and answers one, "s" sends so many.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Callable

sys.path.insert(0, "/usr/lib/hostvm")

from guest_agent.agent.main import run
from guest_agent.boot import system

REQUEST = struct.Struct(">cQ")
BLOCK = 32 << 10
RAW_PORT, CHANNEL_PORT = "bench.raw", "hostvm.channel"
SOCKET = "/run/hostvm/bench.sock"


def serve(descriptor: int) -> None:
    """Until the other end is gone."""
    while head := os.read(descriptor, REQUEST.size):
        operation, count = REQUEST.unpack(head)
        if operation == b"e":
            for _ in range(count):
                os.write(descriptor, os.read(descriptor, 4096))
        elif operation == b"k":
            while count:
                count -= len(os.read(descriptor, BLOCK))
            os.write(descriptor, b".")
        else:
            block = memoryview(bytes(BLOCK))
            while count:
                count -= os.write(descriptor, block[:count])


def serve_socket() -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(SOCKET)
    listener.listen(8)
    while True:
        connection, _ = listener.accept()
        with connection:
            serve(connection.fileno())


def run_agent() -> None:
    _init, control = socket.socketpair()
    run(open_port(CHANNEL_PORT), control.detach(), "/run/hostvm/host.sock")


def open_port(name: str) -> int:
    path = system.find_port(name)
    assert path is not None
    return os.open(path, os.O_RDWR)


def fork(work: Callable[[], None]) -> None:
    if os.fork() == 0:
        try:
            work()
        finally:
            os._exit(1)


def main() -> None:
    system.mount_file_systems()
    system.link_devices()
    for trouble in system.load_modules(system.MODULES):
        print(trouble, flush=True)
    os.makedirs("/run/hostvm")
    os.environ |= {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    fork(run_agent)
    fork(serve_socket)
    port = open_port(RAW_PORT)
    while True:
        serve(port)


if __name__ == "__main__":
    main()
