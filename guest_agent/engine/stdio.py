"""The three streams of a container's process: pipes or a terminal, and the pump that moves output to its log.

The keeper holds copies of all of them, so that they outlive the engine. The child's ends are closed as soon as the
runtime has them: an open one would hide the end of the output.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from guest_agent.engine.descriptors import PIPE_THREADS, events_of, read_available, write_all
from guest_agent.engine.output import STDERR, STDOUT, Moved, OutputLog
from guest_agent.runtime import console

#: How often the pump looks after other work while a container floods its output.
_CHUNKS_IN_A_ROW = 16
#: Seconds after which a move isn't waited for: its pipe is locked. 64 KiB take a millisecond.
_LOCKED = 0.1


@dataclass(slots=True)
class Stdio:
    """Our ends. With a terminal, `stdout` and `stdin` are both the master; -1 = there is none, or it is closed."""

    tty: bool = False
    stdin: int = -1
    stdout: int = -1
    stderr: int = -1
    #: The ends for the process: its number -> ours; closed by `close_child_ends`.
    child_ends: dict[int, int] = field(default_factory=dict)
    #: Written bytes go out whole and in order although several clients may be attached.
    stdin_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    stdin_closing: bool = False

    def held(self) -> tuple[list[int], str]:
        """Descriptors and note for the keeper."""
        named = {"stdin": self.stdin, "stdout": self.stdout, "stderr": self.stderr}
        present = {name: fd for name, fd in named.items() if fd >= 0}
        return list(present.values()), json.dumps({"tty": self.tty, "names": list(present)})

    def close_child_ends(self) -> None:
        for fd in self.child_ends.values():
            os.close(fd)
        self.child_ends.clear()

    async def write(self, data: bytes) -> bool:
        """To the process's standard input; False where it is closed."""
        async with self.stdin_lock:
            try:
                return self.stdin >= 0 and await write_all(self.stdin, data)
            finally:
                self._writing_ended()

    def close_stdin(self) -> None:
        """An end of file for the process. A write that is under way ends first: its descriptor must not be reused."""
        self.stdin_closing = True
        if not self.stdin_lock.locked():
            self._writing_ended()

    def _writing_ended(self) -> None:
        if self.stdin_closing and self.stdin >= 0 and not self.tty:
            os.close(self.stdin)
            self.stdin = -1

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal its size; nothing happens with pipes."""
        if self.tty and self.stdout >= 0:
            console.resize(self.stdout, rows, columns)

    def close(self) -> None:
        self.close_child_ends()
        for fd in {self.stdin, self.stdout, self.stderr} - {-1}:
            os.close(fd)
        self.stdin = self.stdout = self.stderr = -1


def make_pipes(open_stdin: bool) -> Stdio:
    """Pipes for a process without a terminal; without `open_stdin` its input is /dev/null."""
    stdio = Stdio()
    try:
        if open_stdin:
            stdio.child_ends[0], stdio.stdin = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(stdio.stdin, False)
        else:
            stdio.child_ends[0] = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        stdio.stdout, stdio.child_ends[1] = os.pipe2(os.O_CLOEXEC)
        stdio.stderr, stdio.child_ends[2] = os.pipe2(os.O_CLOEXEC)
    except BaseException:
        stdio.close()
        raise
    return stdio


def terminal_stdio(master: int) -> Stdio:
    """The master's side of a terminal that the runtime has made."""
    os.set_blocking(master, False)
    return Stdio(tty=True, stdin=master, stdout=master)


def adopt_stdio(fds: list[int], note: str) -> Stdio:
    """What a predecessor had left with the keeper. Raises ValueError where the note doesn't fit."""
    described = json.loads(note)
    names = described["names"]
    if len(names) != len(fds):
        raise ValueError("the keeper's note doesn't fit its descriptors")
    stdio = Stdio(tty=described["tty"], **dict(zip(names, fds, strict=True)))
    if stdio.tty:
        os.close(stdio.stdin)
        return terminal_stdio(stdio.stdout)
    if stdio.stdin >= 0:
        os.set_blocking(stdio.stdin, False)
    return stdio


class OutputPump:
    """Moves what the process prints into its log until both streams have ended.

    Pieces go in the order in which they came, one at a time; but for one whose pipe is locked by its writer
    (`descriptors`): the other stream doesn't wait for that.
    """

    def __init__(self, stdio: Stdio, log: OutputLog, ended: Callable[[], None]) -> None:
        """`ended` is called once, when nothing more can come."""
        self._stdio = stdio
        self._log = log
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._open: dict[int, int] = {}
        self._ready: deque[int] = deque()
        self._first: asyncio.Future[Moved] | None = None  #: the move that the others wait for

    def start(self) -> None:
        self._open = {self._stdio.stdout: STDOUT}
        if self._stdio.stderr >= 0:
            self._open[self._stdio.stderr] = STDERR
        for fd in self._open:
            self._watch(fd)

    @property
    def is_behind(self) -> bool:
        """Whether something has been printed that isn't in the log yet."""
        waiting = any(events_of(fd) & select.POLLIN for fd in self._open)
        return waiting or self._first is not None or bool(self._ready)

    def stop(self) -> None:
        """Whatever is still to come is not waited for."""
        for fd in list(self._open):
            self._finish(fd)

    def _watch(self, fd: int) -> None:
        self._loop.add_reader(fd, self._read_terminal if self._stdio.tty else self._take, fd)

    def _take(self, fd: int) -> None:
        events = events_of(fd)
        if events & select.POLLIN:
            self._loop.remove_reader(fd)
            self._ready.append(fd)
            self._move_next()
        elif events:
            self._finish(fd)  # a container that is silent costs neither a thread nor a file

    def _move_next(self) -> None:
        if self._first is not None or not self._ready:
            return
        fd = self._ready.popleft()
        stream = self._open[fd]
        move = self._log.plan_move(fd, stream)
        self._first = moving = self._loop.run_in_executor(PIPE_THREADS, move.perform)
        overtaking = self._loop.call_later(_LOCKED, self._pass_over, moving)
        moving.add_done_callback(lambda done: self._moved(fd, stream, done, overtaking))

    def _pass_over(self, moving: asyncio.Future[Moved]) -> None:
        if self._first is moving:
            self._first = None
            self._move_next()

    def _moved(self, fd: int, stream: int, moving: asyncio.Future[Moved], overtaking: asyncio.TimerHandle) -> None:
        overtaking.cancel()
        moved = moving.result()
        self._log.moved(stream, moved)
        if self._open.get(fd) == stream:
            if moved.length:
                self._watch(fd)
            else:
                self._finish(fd)
        self._pass_over(moving)

    def _read_terminal(self, fd: int) -> None:
        for _turn in range(_CHUNKS_IN_A_ROW):
            data = read_available(fd)
            if data is None:
                return
            if not data:
                self._finish(fd)
                return
            self._log.append(data, self._open[fd])

    def _finish(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        if fd in self._ready:
            self._ready.remove(fd)
        del self._open[fd]
        if not self._open:
            self._ended()
