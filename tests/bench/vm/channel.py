"""The channel beside the raw port and beside paramiko over ssh: round trip, and throughput both ways.

Raw is a blocking program at each end of a virtio-serial port of the same device. `stream` is the channel alone: the
process that holds the host's end, and a service of the agent. `socket` has two processes more on the way, as an
engine's client has: a client of the host's end, and a program behind a unix socket in the guest. ssh runs over a stream
of the channel, for want of a port that listens.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Protocol

from tests.bench.figures import Promise, Result
from tests.bench.timing import interleave
from tests.bench.vm import baseline
from tests.bench.vm.channel_guest import BLOCK, REQUEST, SOCKET
from tests.bench.vm.channel_host import MESSAGE_SIZE, Gate, Guest
from vm_images.guest.image import find_image

#: Echoes whose mean is one sample; bytes whose time is one.
ECHOES = 300
BYTES = 16 << 20
MESSAGE = b"m" * MESSAGE_SIZE


class Wire(Protocol):
    """What sockets and paramiko's channels have in common."""

    def sendall(self, data: bytes, /) -> None: ...

    def recv(self, most: int, /) -> bytes: ...


def measure(rounds: int, scratch: str) -> list[Result]:
    image = find_image(baseline.CACHE, "x86_64")
    assert image is not None, "python -m tests.bench.vm.baseline makes it"
    with ExitStack() as ends:
        guest = Guest(image, baseline.CACHE, scratch)
        ends.callback(guest.end)
        gate = Gate(scratch)
        ends.callback(gate.end)
        raw = guest.raw()
        served = gate.open({"to": "unix", "path": SOCKET})
        shell = gate.open_shell(scratch)

        def run(command: str) -> Wire:
            session = shell.open_session()
            session.exec_command(command)
            return session

        return [
            _result(
                "channel-round-trip", "round trip of 64 bytes", "us",
                {
                    "raw port": lambda: echo(ask(raw, b"e", ECHOES + 1)),
                    "hostvm stream": lambda: gate.measure("echo", ECHOES) * 1e6,
                    "hostvm socket": lambda: echo(ask(served, b"e", ECHOES + 1)),
                    "paramiko over ssh": lambda: echo(run("cat")),
                },
                rounds,
            ),
            _result(
                "channel-to-guest", "seconds for 16 MiB to the guest", "s",
                {
                    "raw port": lambda: give(ask(raw, b"k", BYTES)),
                    "hostvm stream": lambda: gate.measure("give", BYTES),
                    "hostvm socket": lambda: give(ask(served, b"k", BYTES)),
                    "paramiko over ssh": lambda: give(run(f"head -c {BYTES} | tail -c 1")),
                },
                rounds,
            ),
            _result(
                "channel-to-host", "seconds for 16 MiB to the host", "s",
                {
                    "raw port": lambda: take(ask(raw, b"s", BYTES)),
                    "hostvm stream": lambda: gate.measure("take", BYTES),
                    "hostvm socket": lambda: take(ask(served, b"s", BYTES)),
                    "paramiko over ssh": lambda: take(run(f"head -c {BYTES} /dev/zero")),
                },
                rounds,
            ),
        ]  # fmt: skip


def _result(name: str, title: str, unit: str, measures: dict[str, Callable[[], float]], rounds: int) -> Result:
    result = Result(name, title, unit, interleave(measures, rounds), ())
    ratio = result.median("hostvm stream") / result.median("raw port")
    promises = [Promise("a stream against the raw port", ratio, at_most=3)]
    return Result(name, title, unit, result.samples, promises)


def ask(wire: socket.socket, operation: bytes, count: int) -> socket.socket:
    wire.sendall(REQUEST.pack(operation, count))
    return wire


def echo(wire: Wire) -> float:
    """Mean microseconds; the first one, which may wait for an open, isn't counted."""
    wire.sendall(MESSAGE)
    receive(wire, len(MESSAGE))
    begin = time.perf_counter()
    for _ in range(ECHOES):
        wire.sendall(MESSAGE)
        receive(wire, len(MESSAGE))
    return (time.perf_counter() - begin) * 1e6 / ECHOES


def give(wire: Wire) -> float:
    begin = time.perf_counter()
    block = bytes(BLOCK)
    for _ in range(BYTES // BLOCK):
        wire.sendall(block)
    receive(wire, 1)
    return time.perf_counter() - begin


def take(wire: Wire) -> float:
    begin = time.perf_counter()
    receive(wire, BYTES)
    return time.perf_counter() - begin


def receive(wire: Wire, count: int) -> None:
    while count > 0:
        data = wire.recv(min(count, 4 * BLOCK))
        if not data:
            raise EOFError("the guest closed the connection")
        count -= len(data)


if __name__ == "__main__":
    raise SystemExit(os.EX_USAGE)
