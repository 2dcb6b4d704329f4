"""The relay's process: one thread between /dev/fuse and the port.

Neither end may block it: a reply to one program must get through while another's request waits for the port. It must
never touch the mount itself, whose requests it would then wait for without answering. A port without a host reads as
the end of file, for as long as it lasts, and wakes nobody when that is over in an unlucky moment: so it is looked at
now and then.
"""

from __future__ import annotations

import errno
import os
import select
import time
from typing import NoReturn

from guest_agent.linux.mounts import mount_fuse, umount_if_mounted
from guest_agent.relay.core import RelayCore
from guest_agent.wire.share_link import FLAG_CHECK_PERMISSIONS, MAX_DATA, MAX_REQUEST

_AWAY_POLL_SECONDS = 0.25
#: The port's driver doesn't tell of room in every kernel.
_FULL_POLL_SECONDS = 0.02
#: No further requests are taken while this much waits for the port.
_BACKLOG = 2 * MAX_REQUEST
_READS_PER_TURN = 16
#: A virtio port hands over at most 4 KiB at a time; a socket in its place more.
_PIECE = 65536
_MODULE_SECONDS = 60.0
_MODULE_POLL_SECONDS = 0.02
#: The request went away between being announced and being read (ENOENT), or nothing is there.
_NOTHING = (errno.EAGAIN, errno.EINTR, errno.ENOENT)


def run(port: int, mount_point: str) -> NoReturn:
    """Wait for the first greeting, mount, then carry on for ever. `port` is the opened virtio port.

    The mount comes with the greeting because its options depend on who the host's server is.
    """
    Relay(port, mount_point).run()
    raise SystemExit(0)


class Relay:
    """The descriptors and the loop."""

    def __init__(self, port: int, mount_point: str) -> None:
        self._core = RelayCore()
        self._port = port
        self._mount_point = mount_point
        self._device = -1
        self._buffer = bytearray(MAX_REQUEST)
        self._piece = bytearray(_PIECE)
        self._poll = select.epoll()
        os.set_blocking(port, False)
        self._poll.register(port, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def run(self) -> None:
        """Until the file system is unmounted."""
        if umount_if_mounted(self._mount_point):  # of a relay that died: nobody can answer there any more
            self._core.ask_for_greeting()
            self._write_port()
        while True:
            self._wait()
            if self._device >= 0 and len(self._core.to_port) < _BACKLOG and not self._read_device():
                return
            self._read_port()
            self._write_device()
            self._write_port()
            self._core.tick(time.monotonic())

    def _wait(self) -> None:
        if self._device >= 0:
            wanted = select.EPOLLIN if len(self._core.to_port) < _BACKLOG else 0
            self._poll.modify(self._device, wanted)
        self._poll.poll(
            _AWAY_POLL_SECONDS if self._core.is_away else _FULL_POLL_SECONDS if self._core.to_port else None
        )

    def _read_device(self) -> bool:
        """False when there is nothing to serve any more."""
        for _ in range(_READS_PER_TURN):
            try:
                size = os.readv(self._device, [self._buffer])
            except OSError as error:
                if error.errno in _NOTHING:
                    return True
                if error.errno == errno.ENODEV:
                    return False
                raise
            self._core.from_device(bytes(memoryview(self._buffer)[:size]))
        return True

    def _read_port(self) -> None:
        while True:
            try:
                size = os.readv(self._port, [self._piece])
            except BlockingIOError:
                return
            except InterruptedError:
                continue
            if not size:
                self._core.host_is_away(time.monotonic())
                return
            self._core.from_port(memoryview(self._piece)[:size])
            if self._core.greeting is not None and self._device < 0:
                self._mount(self._core.greeting.flags)
            self._write_device()

    def _mount(self, flags: int) -> None:
        self._device = _open_device()
        os.makedirs(self._mount_point, mode=0o700, exist_ok=True)
        check = bool(flags & FLAG_CHECK_PERMISSIONS)
        mount_fuse(self._device, self._mount_point, check_permissions=check, max_read=MAX_DATA)
        self._poll.register(self._device, select.EPOLLIN)

    def _write_device(self) -> None:
        for reply in self._core.to_device:
            try:
                os.write(self._device, reply)
            except OSError as error:
                if error.errno != errno.ENOENT:  # its program was killed meanwhile
                    self._refuse(reply)
        self._core.to_device.clear()

    def _refuse(self, reply: bytes) -> None:
        """The kernel doesn't like what the host said: whoever asked gets EIO."""
        failure = b"\x10\0\0\0" + (-errno.EIO).to_bytes(4, "little", signed=True) + reply[8:16]
        try:
            os.write(self._device, failure)
        except OSError:
            return

    def _write_port(self) -> None:
        waiting = self._core.to_port
        while waiting:
            try:
                with memoryview(waiting) as view:
                    written = os.write(self._port, view[:65536])
            except (BlockingIOError, InterruptedError):
                return
            except BrokenPipeError:  # no virtio port, but a socket in its place
                self._core.host_is_away(time.monotonic())
                return
            del waiting[:written]


def _open_device() -> int:
    """The host may greet before the kernel's modules are loaded."""
    deadline = time.monotonic() + _MODULE_SECONDS
    while True:
        try:
            return os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_MODULE_POLL_SECONDS)
