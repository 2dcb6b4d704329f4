"""QEMU's monitor (QMP): saving and loading a state, and the end."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping

from qemu.qmp import QMPClient, QMPError

from guest_agent.wire.errors import HostFailed, Unavailable

#: From here on a file can be named; before, its descriptor is handed over, which 9.1 deprecates for files.
_FILE_URI_SINCE = (8, 2)
_POLL = 0.002

logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())
logging.getLogger("qemu.qmp").propagate = False


class Monitor:
    """One connection to one QEMU. Every method raises Unavailable when QEMU is gone, HostFailed when it refuses."""

    def __init__(self) -> None:
        self._client = QMPClient("hostvm")
        self._listener: asyncio.Task[None] | None = None
        self.version: tuple[int, ...] = ()

    async def connect(self, path: str, is_alive: Callable[[], bool], timeout: float) -> None:
        """As soon as QEMU listens."""
        connected = await _connect(path, is_alive, timeout)
        try:
            async with asyncio.timeout(timeout):
                await self._client.connect(connected)
        except (QMPError, TimeoutError, EOFError) as error:
            raise Unavailable(f"QEMU's monitor doesn't answer: {error}") from error
        greeting = self._client.greeting
        version: Mapping[str, object] = greeting.QMP.version["qemu"] if greeting else {}  # type: ignore[assignment]
        self.version = tuple(int(str(version.get(part, 0))) for part in ("major", "minor", "micro"))

    def listen(self, heard: Callable[[str], None]) -> None:
        """Calls `heard` with each event's name from here on."""
        self._listener = asyncio.ensure_future(self._listen(heard))

    async def _listen(self, heard: Callable[[str], None]) -> None:
        async for event in self._client.events:
            heard(str(event["event"]))

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None, timeout: float = 10) -> object:
        try:
            async with asyncio.timeout(timeout):
                return await self._client.execute(command, arguments)
        except TimeoutError:
            raise Unavailable(f"QEMU doesn't answer to {command}") from None
        except EOFError as error:
            raise Unavailable("QEMU has ended") from error
        except QMPError as error:
            raise (HostFailed if self._is_connected else Unavailable)(f"QEMU: {command}: {error}") from error

    @property
    def _is_connected(self) -> bool:
        return self._client.runstate.name == "RUNNING"

    async def status(self) -> str:
        """QEMU's run state: running, paused, postmigrate, inmigrate ..."""
        answer = await self.execute("query-status")
        return str(answer["status"]) if isinstance(answer, dict) else ""

    async def load(self, descriptor: int, timeout: float) -> None:
        """Resumes the state that QEMU inherited as `descriptor`; the guest runs when this returns."""
        await self._share_memory()
        await self.execute("migrate-incoming", {"uri": f"fd:{descriptor}"})
        async with asyncio.timeout(timeout):
            status = await self.status()
            while status == "inmigrate":
                await asyncio.sleep(_POLL)
                status = await self.status()
        if status != "running":
            await self.resume()

    async def save(self, path: str, timeout: float) -> None:
        """The devices' state into a new file; the memory is in its own. The guest stands still when this returns."""
        await self._share_memory()
        await self.execute("migrate", {"uri": await self._target(path)})
        async with asyncio.timeout(timeout):
            while True:
                answer = await self.execute("query-migrate")
                status = answer.get("status") if isinstance(answer, dict) else None
                if status == "completed":
                    return
                if status in ("failed", "cancelled"):
                    reason = answer.get("error-desc", "") if isinstance(answer, dict) else ""
                    raise HostFailed(f"QEMU can't save the machine's state: {reason or status}")
                await asyncio.sleep(_POLL)

    async def _target(self, path: str) -> str:
        """Where the stream goes. QEMU may start no process (sandbox), so it is no `exec:cat`."""
        if self.version >= _FILE_URI_SINCE:
            return f"file:{path}"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HostFailed(f"the machine's state can't be saved: {path}: {error.strerror}") from error
        try:
            self._client.send_fd_scm(descriptor)
            await self.execute("getfd", {"fdname": "state"})
        finally:
            os.close(descriptor)
        return "fd:state"

    async def resume(self) -> None:
        await self.execute("cont")

    async def run_on(self) -> None:
        """Resumes a guest that stands still; one that runs is left alone."""
        if await self.status() != "running":
            await self.resume()

    async def resize_disk(self, size: int) -> None:
        """Tells the guest how large its disk is."""
        await self.execute("block_resize", {"node-name": "disk", "size": size})

    async def quit(self) -> None:
        """QEMU ends; that it already has is fine."""
        try:
            await self.execute("quit", timeout=5)
        except (Unavailable, HostFailed):
            pass

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
        try:
            await self._client.disconnect()
        except (QMPError, EOFError, OSError):
            pass

    async def _share_memory(self) -> None:
        """The memory is a file that both ends map: it isn't part of the stream (QEMU, x-ignore-shared)."""
        capability = {"capability": "x-ignore-shared", "state": True}
        await self.execute("migrate-set-capabilities", {"capabilities": [capability]})


async def _connect(path: str, is_alive: Callable[[], bool], timeout: float) -> socket.socket:
    """QEMU listens some milliseconds after its start; nothing else tells when."""
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            client.close()
        else:
            client.setblocking(False)
            return client
        if not is_alive():
            raise Unavailable("QEMU ended at its start")
        if asyncio.get_running_loop().time() > deadline:
            raise Unavailable("QEMU doesn't open its monitor")
        await asyncio.sleep(_POLL)
