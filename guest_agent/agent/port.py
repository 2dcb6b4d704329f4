"""The virtio-serial port as the channel's wire.

Traps (drivers/char/virtio_console.c). One read gives one buffer of the host's, at most 4 KiB; readv(2) goes on through
them, so one system call can take a whole frame. One write takes 32 KiB, all or nothing. While the host's end is closed
a read gives 0 and the port hangs up: it is watched edge-triggered then, or the loop would spin.
"""

from __future__ import annotations

import os
import select
import sys

from guest_agent.agent.loop import HANG_UP, READ, WRITE, Loop
from guest_agent.wire.channel import Multiplexer
from guest_agent.wire.channel_input import ChannelViolation
from guest_agent.wire.errors import Unavailable

_BUFFER = 4096
#: Buffers that one readv may fill: two frames. More makes others wait, fewer cost system calls.
_MOST_BUFFERS = 16


class Port:
    """Reads as many buffers at once as came lately: one while messages are small."""

    def __init__(self, descriptor: int, loop: Loop, mux: Multiplexer) -> None:
        self._descriptor = descriptor
        self._loop = loop
        self._mux = mux
        self._buffers = 1
        self._connected = True
        self._events = 0
        os.set_blocking(descriptor, False)
        self._watch(READ)

    def flush(self) -> None:
        """Write until the channel has nothing more to say, or the port is full."""
        if not self._connected:
            return
        output, written = self._mux.output, 0
        try:
            while view := output(written):
                written = os.write(self._descriptor, view)
        except BlockingIOError:
            self._watch(READ | WRITE)
        except OSError:
            self._hang_up()
        else:
            if self._events != READ:
                self._watch(READ)

    def _ready(self, events: int) -> None:
        if events & HANG_UP:
            self._hang_up()
        elif not self._connected:
            self._come_back()
        elif events & READ:
            self._read()

    def _read(self) -> None:
        space, count = self._mux.space(), self._buffers
        try:
            got = os.readv(self._descriptor, (space[:_BUFFER],) if count == 1 else _buffers(space, count))
        except BlockingIOError:
            return
        except OSError:
            got = 0
        if not got:
            self._hang_up()
            return
        if got < _BUFFER:
            self._buffers = 1
        elif count < _MOST_BUFFERS:
            self._buffers = 2 * count
        try:
            self._mux.received(got)
        except ChannelViolation as violation:
            print(f"channel: the host sent {violation.message}", file=sys.stderr, flush=True)

    def _hang_up(self) -> None:
        """The host's end is gone. What was under way is lost, and whoever comes next begins anew."""
        if self._connected:
            self._connected = False
            self._mux.restart(Unavailable("the host's end of the channel was closed"))
            self._watch(READ | WRITE | select.EPOLLET)

    def _come_back(self) -> None:
        self._connected = True
        self._buffers = 1
        self._watch(READ)

    def _watch(self, events: int) -> None:
        if events != self._events:
            self._events = events
            self._loop.watch(self._descriptor, events, self._ready)


def _buffers(space: memoryview, count: int) -> list[memoryview]:
    return [space[at : at + _BUFFER] for at in range(0, min(count * _BUFFER, len(space)), _BUFFER)]
