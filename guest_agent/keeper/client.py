"""The engine's end of the channel to its keeper.

Sending never blocks the event loop: where the queue is full, messages wait in order. What the keeper held for a killed
predecessor is received before the loop starts, so that start-up can reconcile without waiting.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Mapping, Sequence

from guest_agent.keeper import protocol
from guest_agent.wire.errors import HostFailed

#: Exits that nobody has asked for yet; an orphan of a container may never be asked for.
_UNCLAIMED_LIMIT = 1024

#: pid and start ticks: what a process is known by.
ProcessKey = tuple[int, int]


class KeeperClient:
    """Spawns through the keeper, learns exits from it, leaves descriptors with it."""

    def __init__(self, channel: socket.socket, journal: str) -> None:
        self._channel = channel
        self._journal = journal
        self._decoder = protocol.Decoder()
        self._outgoing: deque[tuple[protocol.Message, tuple[int, ...]]] = deque()
        self._partial = b""
        self._held: dict[str, tuple[list[int], str]] = {}
        self._keys: set[str] = set()
        self._spawning: dict[int, asyncio.Future[ProcessKey]] = {}
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._exits: dict[int, tuple[int, int]] = {}
        self._next_id = 0
        self.lost = asyncio.Event()

    # -- start-up

    def receive_inventory(self) -> None:
        """Blocks until the keeper has told everything that it holds. Call once, before the loop serves."""
        welcome = False
        while not welcome:
            data, fds = protocol.receive(self._channel)
            if not data:
                raise HostFailed("the keeper went away")
            for message, its_fds in self._decoder.feed(data, fds):
                if "held" in message:
                    self._held[str(message["held"])] = (its_fds, str(message["note"]))
                elif "exit" in message:  # behind the welcome, too: what is decoded comes only once
                    self._note_exit(message)
                elif "welcome" in message:
                    welcome = True
        self._keys = set(self._held)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen to the keeper from now on."""
        self._loop = loop
        self._channel.setblocking(False)
        loop.add_reader(self._channel, self._readable)

    def past_exits(self) -> dict[ProcessKey, int]:
        """The journal: the wait status of every process that ended, by pid and start ticks."""
        exits = {}
        for path in (self._journal + ".old", self._journal):
            try:
                with open(path, "rb") as journal:
                    lines = journal.read().splitlines()
            except FileNotFoundError:
                continue
            for line in lines:
                words = line.split()
                if len(words) == 3:
                    exits[int(words[0]), int(words[1])] = int(words[2])
        return exits

    # -- descriptors (DescriptorHolder)

    def hold(self, key: str, fds: Sequence[int], note: str = "") -> None:
        """Leave copies with the keeper under `key`, replacing what was there."""
        self._keys.add(key)
        self._send({"op": "hold", "key": key, "note": note}, tuple(fds))

    def get(self, key: str) -> tuple[list[int], str]:
        """What a predecessor left under `key`: descriptors that are the caller's from now on, and the note.

        Each key can be fetched once; ([], "") where there is nothing.
        """
        return self._held.pop(key, ([], ""))

    def keys(self) -> list[str]:
        """All keys that the keeper holds."""
        return sorted(self._keys)

    def drop(self, key: str) -> None:
        """The keeper closes its copies; nothing happens where there are none."""
        for fd in self._held.pop(key, ([], ""))[0]:
            os.close(fd)
        if key in self._keys:
            self._keys.discard(key)
            self._send({"op": "drop", "key": key})

    # -- processes

    async def spawn(
        self,
        argv: Sequence[str],
        fds: Mapping[int, int],
        environment: Mapping[str, str] | None = None,
        *,
        brief: bool = False,
    ) -> ProcessKey:
        """Start a program with `fds` (child's number -> ours); pid and start ticks. HostFailed where it can't start.

        If this engine dies, its successor waits for all that are `brief` before it looks around.
        """
        self._next_id += 1
        future: asyncio.Future[ProcessKey] = self._loop.create_future()
        self._spawning[self._next_id] = future
        message: protocol.Message = {
            "op": "spawn",
            "id": self._next_id,
            "argv": list(argv),
            "targets": list(fds),
            "env": None if environment is None else dict(environment),
            "brief": brief,
        }
        self._send(message, tuple(fds.values()))
        return await future

    async def wait(self, pid: int, ticks: int = 0) -> int:
        """The wait status of a child of the keeper; at once where it has ended already.

        With `ticks`, an end that is remembered of another process with the same pid doesn't count.
        """
        if pid in self._exits and ticks in (0, self._exits[pid][0]):
            return self._exits.pop(pid)[1]
        future = self._waiting.get(pid)
        if future is None:
            future = self._waiting[pid] = self._loop.create_future()
        return await asyncio.shield(future)

    # -- life

    def ready(self) -> None:
        self._send({"op": "ready"})

    def failed(self, kind: str, message: str, hint: str) -> None:
        """The engine can't start: tell whoever started us. Blocks, for the process ends right after."""
        self._channel.setblocking(True)
        error = {"kind": kind, "message": message, "hint": hint}
        protocol.send(self._channel, {"op": "failed", "error": error})

    def quit(self) -> None:
        self._send({"op": "quit"})

    def rest(self) -> None:
        self._send({"op": "rest"})

    # -- the stream

    def _send(self, message: protocol.Message, fds: tuple[int, ...] = ()) -> None:
        """Send, or queue with copies of the descriptors, since the caller may close its own at once."""
        self._outgoing.append((message, tuple(os.dup(fd) for fd in fds)))
        self._flush()

    def _flush(self) -> None:
        try:
            while self._partial or self._outgoing:
                if not self._partial:
                    self._send_head()
                else:
                    sent = self._channel.send(self._partial)
                    self._partial = self._partial[sent:]
        except BlockingIOError:
            self._loop.add_writer(self._channel, self._writable)
        except OSError:
            self.lost.set()

    def _send_head(self) -> None:
        message, fds = self._outgoing[0]
        data, ancillary = protocol.outgoing(message, fds)
        sent = self._channel.sendmsg([data], ancillary)
        self._partial = data[sent:]
        self._outgoing.popleft()
        for fd in fds:
            os.close(fd)

    def _writable(self) -> None:
        self._loop.remove_writer(self._channel)
        self._flush()

    def _readable(self) -> None:
        try:
            data, fds = protocol.receive(self._channel)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self._loop.remove_reader(self._channel)
            self.lost.set()
            return
        for message, _fds in self._decoder.feed(data, fds):
            self._obey(message)

    def _obey(self, message: protocol.Message) -> None:
        if "exit" in message:
            self._note_exit(message)
            return
        future = self._spawning.pop(int(str(message["id"])), None)
        if future is None or future.cancelled():
            return
        if "error" in message:
            future.set_exception(HostFailed(f"can't start a process: {os.strerror(int(str(message['error'])))}"))
        else:
            pid = int(str(message["pid"]))
            self._exits.pop(pid, None)  # of a predecessor by that number: the answer comes before its own end
            future.set_result((pid, int(str(message["ticks"]))))

    def _note_exit(self, message: protocol.Message) -> None:
        pid, ticks, status = (int(str(message[name])) for name in ("exit", "ticks", "status"))
        future = self._waiting.pop(pid, None)
        if future is not None:
            future.set_result(status)
            return
        self._exits[pid] = (ticks, status)
        while len(self._exits) > _UNCLAIMED_LIMIT:
            del self._exits[next(iter(self._exits))]
