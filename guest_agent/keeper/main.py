"""The keeper: holds all containers of one engine, and the engine itself.

It is the subreaper, so that each container's init becomes its child and its exit status can't be lost; it spawns the
runtimes; it holds descriptors (stdio of containers, listening sockets of published ports) for the engine's successor;
it holds the private mount namespace that it was started in; and it starts the engine again when it dies. Clients
connect to a socket that the keeper holds, so they only wait while an engine is being replaced.

It must never end by an exception and hardly ever change: it lives as long as the longest container. That is why it
knows nothing of containers, and why it is started with `-I -S` and few imports (6 MB, 10 ms).

A process is reported by pid and start time (field 22 of /proc/<pid>/stat), read before it is reaped: until then the
kernel can't use the pid again.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import selectors
import signal
import socket
import sys
import time

from guest_agent.keeper import protocol

#: An engine that dies at once is started again after 0, 0.1, 0.2, 0.4 ... at most 5 seconds.
_BACKOFF_LIMIT = 5.0
#: An engine that lived this long has started properly: the next restart is immediate again.
_SETTLED_SECONDS = 10.0
#: Seconds that a new engine waits at most for what its predecessor had started: a runtime that hangs must not stop all.
_BRIEF_LIMIT = 10.0
#: The journal is rotated at this size: 40,000 exits, more than can happen while an engine is away.
_JOURNAL_LIMIT = 1 << 20
#: Descriptors are moved above this before a spawn, so that placing one never overwrites another.
_ABOVE_TARGETS = 100


class Keeper:
    """The whole state: the engine's process and channel, what is held, who ended."""

    def __init__(self, engine_argv: list[str], lock: int, listener: int, ready: int, journal: str) -> None:
        self._engine_argv = engine_argv
        self._lock = lock
        self._listener = listener
        self._ready = ready
        self._journal_path = journal
        self._journal = _open_journal(journal)
        self._held: dict[str, tuple[list[int], str]] = {}
        self._engine_pid = 0
        self._engine_started = 0.0
        self._channel: socket.socket | None = None
        self._decoder = protocol.Decoder()
        self._engine_ready = False
        #: Processes of the engine that end by themselves soon; a successor must not clear up under their feet.
        self._brief: set[int] = set()
        self._owes_welcome = False
        self._quitting = False
        self._failure = b""
        self._resting = False
        self._terminating = False
        self._failures = 0
        self._next_start = 0.0
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Until the engine has ended and was told not to come back."""
        wakeup = _signal_pipe()
        self._selector.register(wakeup, selectors.EVENT_READ)
        while True:
            self._reap()
            if self._quitting and not self._engine_pid:
                self._end()
                return 0
            self._welcome_if_quiet()
            for key, _events in self._selector.select(self._start_engine_if_due()):
                if key.fd == wakeup:
                    os.read(wakeup, 4096)
                elif key.fd == self._listener:
                    self._wake()
                else:
                    self._serve_engine()

    def _end(self) -> None:
        """The starter hears of a failure when nobody can connect to us any more, and another keeper may start.

        In this order: whoever finds nobody at the socket starts another keeper at once.
        """
        os.close(self._lock)
        os.close(self._listener)
        self._tell_starter(self._failure)

    # -- the engine

    def _start_engine_if_due(self) -> float | None:
        """Start it when it is missing; how long to sleep at most."""
        if self._owes_welcome:
            return _BRIEF_LIMIT
        if self._engine_pid or self._quitting or self._resting:
            return None
        wait = self._next_start - time.monotonic()
        if wait > 0:
            return wait
        ours, theirs = socket.socketpair()
        actions = [(os.POSIX_SPAWN_DUP2, _above(self._listener), 3), (os.POSIX_SPAWN_DUP2, _above(theirs.fileno()), 4)]
        self._engine_pid = os.posix_spawn(self._engine_argv[0], self._engine_argv, os.environ, file_actions=actions)
        for _kind, fd, _target in actions:
            os.close(fd)
        theirs.close()
        os.environ.pop("HOSTVM_FAILPOINTS", None)  # a failpoint kills one engine, not all of its successors
        self._engine_started = time.monotonic()
        self._channel, self._decoder = ours, protocol.Decoder()
        self._selector.register(ours, selectors.EVENT_READ)
        self._send_inventory()
        self._welcome_if_quiet()
        return _BRIEF_LIMIT if self._owes_welcome else None

    def _send_inventory(self) -> None:
        for key, (fds, note) in self._held.items():
            self._send({"held": key, "note": note}, fds)
        self._owes_welcome = True

    def _welcome_if_quiet(self) -> None:
        """Not before what a killed engine had started has ended: its `crun create` may still be making things."""
        late = time.monotonic() - self._engine_started > _BRIEF_LIMIT
        if self._owes_welcome and (late or not self._brief):
            self._owes_welcome = False
            self._send({"welcome": True})

    def _engine_ended(self, status: int) -> None:
        lived = time.monotonic() - self._engine_started
        self._failures = 0 if lived > _SETTLED_SECONDS else self._failures + 1
        self._next_start = time.monotonic() + plan_pause(self._failures)
        self._engine_pid = 0
        self._engine_ready = self._owes_welcome = False
        self._drain_channel()
        if self._resting:
            self._selector.register(self._listener, selectors.EVENT_READ)
        elif not self._quitting:
            print(f"keeper: the engine ended with status {status}, starting it again", file=sys.stderr, flush=True)

    def _wake(self) -> None:
        """A client has come to the resting engine: it waits in the backlog until the engine is there."""
        self._resting = False
        self._failures = 0
        self._next_start = 0.0
        self._selector.unregister(self._listener)

    def terminate(self) -> None:
        """SIGTERM: the engine stops its containers and ends, and we end with it; a resting one is started for that."""
        self._terminating = True
        if self._resting and not self._engine_pid:
            self._wake()
        self._end_ready_engine()

    def _end_ready_engine(self) -> None:
        """Before it is ready the signal would only kill it, and its containers would go on without anybody."""
        if self._terminating and self._engine_ready:
            self._quitting = True
            os.kill(self._engine_pid, signal.SIGTERM)

    def _drain_channel(self) -> None:
        """What a killed engine still wrote counts: a `hold` in the queue must not be lost."""
        if self._channel is None:
            return
        self._channel.setblocking(False)
        while self._channel is not None and self._serve_engine():
            pass

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._selector.unregister(self._channel)
            self._channel.close()
            self._channel = None

    # -- messages

    def _send(self, message: protocol.Message, fds: list[int] | None = None) -> None:
        if self._channel is None:
            return
        try:
            protocol.send(self._channel, message, fds or ())
        except OSError:
            pass  # the engine is dying: its end is noticed by the reaper

    def _serve_engine(self) -> bool:
        """Read once and obey; False at the end of the stream."""
        assert self._channel is not None
        try:
            data, fds = protocol.receive(self._channel)
        except BlockingIOError:
            self._close_channel()
            return False
        except OSError:  # ECONNRESET: killed with unread data in its queue
            data, fds = b"", []
        if not data:
            self._close_channel()
            return False
        for message, its_fds in self._decoder.feed(data, fds):
            self._obey(message, its_fds)
        return True

    def _obey(self, message: protocol.Message, fds: list[int]) -> None:
        operation = message.get("op")
        if operation == "spawn" and self._engine_pid:
            self._spawn(message, fds)
        elif operation == "spawn":  # queued by an engine that is dead: nobody would look after it
            _close(fds)
        elif operation == "hold":
            self._drop(str(message["key"]))
            self._held[str(message["key"])] = (fds, str(message.get("note", "")))
        elif operation == "drop":
            self._drop(str(message["key"]))
        elif operation == "ready":
            self._note_ready()
        elif operation == "failed":
            self._quitting = self._ready >= 0 or not self._held
            self._failure = json.dumps(message["error"]).encode() + b"\n"
        elif operation == "quit":
            self._quitting = True
        elif operation == "rest":
            self._resting = True

    def _note_ready(self) -> None:
        self._engine_ready = True
        self._tell_starter(b"ready\n")
        self._end_ready_engine()

    def _drop(self, key: str) -> None:
        _close(self._held.pop(key, ([], ""))[0])

    def _tell_starter(self, line: bytes) -> None:
        if self._ready < 0:
            return
        try:
            os.write(self._ready, line)
        except OSError:
            pass  # whoever started us is gone
        os.close(self._ready)
        self._ready = -1

    # -- processes

    def _spawn(self, message: protocol.Message, fds: list[int]) -> None:
        argv = [str(word) for word in _list(message["argv"])]
        environment = message.get("env")
        targets = [int(str(target)) for target in _list(message["targets"])]
        raised: list[int] = []
        reply: protocol.Message = {"id": message["id"]}
        try:
            for fd in fds:
                raised.append(_above(fd))  # one by one, so that those before one that fails are closed
            actions = [(os.POSIX_SPAWN_DUP2, fd, target) for fd, target in zip(raised, targets, strict=True)]
            pid = os.posix_spawn(
                argv[0], argv, environment if isinstance(environment, dict) else os.environ, file_actions=actions
            )
            reply |= {"pid": pid, "ticks": _start_ticks(pid)}
            if message.get("brief"):
                self._brief.add(pid)
        except OSError as error:
            reply["error"] = error.errno
        except ValueError:  # a zero byte in a word, or more targets than descriptors
            reply["error"] = errno.EINVAL
        _close([*raised, *fds])
        self._send(reply)

    def _reap(self) -> None:
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            ticks = _start_ticks(found.si_pid)
            pid, status = os.waitpid(found.si_pid, 0)
            if pid == self._engine_pid:
                self._engine_ended(status)
            else:
                self._report_exit(pid, ticks, status)

    def _report_exit(self, pid: int, ticks: int, status: int) -> None:
        try:
            os.write(self._journal, b"%d %d %d\n" % (pid, ticks, status))
            if os.fstat(self._journal).st_size > _JOURNAL_LIMIT:
                self._rotate_journal()
        except OSError:
            pass  # a full disk: the engine is told all the same
        self._send({"exit": pid, "ticks": ticks, "status": status})
        self._brief.discard(pid)

    def _rotate_journal(self) -> None:
        """The old one stays open until there is a new one: a closed number could soon be somebody's pipe."""
        os.rename(self._journal_path, self._journal_path + ".old")
        fresh = _open_journal(self._journal_path)
        os.close(self._journal)
        self._journal = fresh


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def plan_pause(failures: int) -> float:
    """Seconds before the next start after so many quick ends in a row."""
    # The power is capped before the product is: 2 ** 2000 fits in no float.
    return min(0.1 * (1 << min(failures - 2, 16)), _BACKOFF_LIMIT) if failures > 1 else 0.0


def _open_journal(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _above(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE_TARGETS)


def _start_ticks(pid: int) -> int:
    """Field 22 of /proc/<pid>/stat; the command's name before it may contain anything, but ends at the last ')'."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[19])
    except OSError:
        return 0


def _signal_pipe() -> int:
    """A descriptor that becomes readable at SIGCHLD and SIGTERM."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return reader


def main() -> None:
    """argv: lock fd, listener fd, ready fd, journal path, then the engine's argv."""
    lock, listener, ready, journal, *engine_argv = sys.argv[1:]
    for inherited in (lock, listener, ready):
        os.set_inheritable(int(inherited), False)  # nobody else's: a container could hold the lock for ever
    keeper = Keeper(engine_argv, int(lock), int(listener), int(ready), journal)
    signal.signal(signal.SIGTERM, lambda _number, _frame: keeper.terminate())
    sys.exit(keeper.run())
