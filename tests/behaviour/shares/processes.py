"""The three processes of a share without a VM: `python -m tests.behaviour.shares.processes ROLE ARGUMENT...`

    server  SOCKET JOURNAL UID PATH...   the share server, as that user
    port    SOCKET DESCRIPTOR            stands for QEMU: a socket that servers come to and leave, and the guest's end
    relay   DESCRIPTOR MOUNT_POINT

A test process may stand still inside the mount with Python's lock held (a page fault of mmap), so none is a thread.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading

from guest_agent.relay import main as relay
from hostvm.shares.server import ShareServer


def serve(path: str, journal: str, uid: int, rules: list[str]) -> None:
    """Until SIGTERM, with a proper end. Lines on stdin are new lists of rules, separated by ":"."""
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    server = ShareServer(path, rules, journal=journal)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    server.start()
    print("started", flush=True)
    threading.Thread(target=follow_rules, args=(server,), daemon=True).start()
    ended.wait()
    server.stop()


def follow_rules(server: ShareServer) -> None:
    for line in sys.stdin:
        server.set_rules([path for path in line.rstrip("\n").split(":") if path])
        print("set", flush=True)


def carry(path: str, descriptor: int) -> None:
    """As QEMU's chardev does: what the guest says while nobody is there is lost."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    guest = socket.socket(fileno=descriptor)
    print("listening", flush=True)
    while True:
        carry_for(guest, wait_for_server(listener, guest))


def wait_for_server(listener: socket.socket, guest: socket.socket) -> socket.socket:
    while True:
        ready, _, _ = select.select([listener, guest], [], [])
        if guest in ready and not guest.recv(1 << 16):
            raise SystemExit(0)
        if listener in ready:
            return listener.accept()[0]


def carry_for(guest: socket.socket, host: socket.socket) -> None:
    """Until the server has gone."""
    to_guest = threading.Thread(target=copy_to_guest, args=(host, guest))
    to_guest.start()
    while to_guest.is_alive():
        ready, _, _ = select.select([guest], [], [], 0.05)
        data = guest.recv(1 << 16) if ready else b""
        if ready and not data:
            os._exit(0)
        try:
            host.sendall(data)
        except OSError:
            break
    to_guest.join()
    host.close()


def copy_to_guest(host: socket.socket, guest: socket.socket) -> None:
    while True:
        try:
            data = host.recv(1 << 16)
        except OSError:
            return
        if not data:
            return
        guest.sendall(data)


if __name__ == "__main__":
    role, *arguments = sys.argv[1:]
    if role == "server":
        serve(arguments[0], arguments[1], int(arguments[2]), arguments[3:])
    elif role == "port":
        carry(arguments[0], int(arguments[1]))
    else:
        relay.run(int(arguments[0]), arguments[1])
