"""The share server: a thread of the supervisor that answers the guest's FUSE requests on the port's socket.

One thread reads and answers, in order. What may wait for the disk (fsync, fallocate) ends in a few other threads. The
socket is QEMU's: when it goes, the server connects again until it is stopped. Nodes and open files outlive that, as
long as the guest's mount is the same one; the journal carries the nodes over to another process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import secrets
import socket
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from guest_agent.wire.share_link import (
    EPOCH_SIZE,
    FLAG_CHECK_PERMISSIONS,
    HOLD,
    OP_GREET,
    OP_HELD,
    REQUEST_HEADER,
    SESSION_SIZE,
    GuestFrames,
    pack_greeting,
    wrap_reply,
)
from hostvm.shares.dispatch import Later, answer
from hostvm.shares.errnos import Refusal
from hostvm.shares.fuse import Validity
from hostvm.shares.handles import HandleTable
from hostvm.shares.journal import Journal
from hostvm.shares.nodes import NodeTable
from hostvm.shares.ownership import Owners, choose_owners
from hostvm.shares.rules import plan_rules
from hostvm.shares.state import ShareState
from hostvm.shares.walking import Walker

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.2
_SLOW_THREADS = 4
#: Slow operations that wait for a thread; one more is done at once, which makes the guest wait.
_SLOW_LIMIT = 64
_RECEIVE_SIZE = 1 << 20
#: Descriptors that the guest's open files leave to the rest of the process.
_SPARED_DESCRIPTORS = 128
_MOST_HANDLES = 65536


class ShareServer:
    """Serves one machine. `start` and `stop` once each; `set_rules` at any time, from any thread."""

    def __init__(
        self,
        path: str,
        rules: Iterable[str],
        *,
        journal: str = "",
        owners: Owners | None = None,
        validity: Validity | None = None,
    ) -> None:
        """`path` is the port's unix socket, `rules` the host paths that are shared, `journal` a file of ours."""
        table = NodeTable()
        self._path = path
        self._state = ShareState(
            table=table,
            walker=Walker(table, plan_rules(rules)),
            handles=HandleTable(_plan_handle_limit()),
            owners=owners or choose_owners(os.geteuid(), os.getegid()),
            journal=Journal(journal),
            validity=validity or Validity(),
        )
        self._session = b""
        self._epoch = b""
        self._socket: socket.socket | None = None
        self._sending = threading.Lock()
        self._working = threading.Lock()
        self._stopping = threading.Event()
        self._held = threading.Event()
        self._slow_slots = threading.Semaphore(_SLOW_LIMIT)
        self._slow: ThreadPoolExecutor | None = None
        self._thread = threading.Thread(target=self._run, name="shares", daemon=True)

    def start(self) -> None:
        """Returns at once; connects in its own time."""
        self._slow = ThreadPoolExecutor(_SLOW_THREADS, "shares-slow")
        self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """Answer what the guest has sent, then leave. The guest keeps its further requests for the next server."""
        self._hold(timeout)
        self._stopping.set()
        self._shut()
        self._thread.join(timeout)
        if self._slow is not None:
            self._slow.shutdown(wait=False)
        with self._working:
            self._state.handles.clear()
            self._state.journal.close()

    def set_rules(self, paths: Iterable[str]) -> None:
        """What isn't covered any more is closed and hidden at once."""
        rules = plan_rules(paths)
        with self._working:
            self._state.walker.rules = rules
            self._state.handles.release_nodes(self._uncovered(self._state.handles.nodes()))

    def _uncovered(self, nodes: Iterable[int]) -> list[int]:
        return [identity for identity in nodes if not self._is_covered(identity)]

    def _is_covered(self, identity: int) -> bool:
        table = self._state.table
        try:
            return self._state.walker.locate(table.path(table.get(identity))) is not None
        except Refusal:
            return False

    @property
    def connected(self) -> bool:
        """A relay has answered."""
        return bool(self._session) and self._socket is not None

    # -- the thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            connection = self._connect()
            if connection is None:
                self._stopping.wait(_RETRY_SECONDS)
                continue
            try:
                self._serve(connection)
            except (OSError, ValueError) as error:
                log.warning("the share's port is lost: %s", error)
            except Exception:
                log.exception("the share's server failed")
            finally:
                self._socket = None
                connection.close()
            self._stopping.wait(_RETRY_SECONDS)

    def _connect(self) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            return None
        return connection

    def _serve(self, connection: socket.socket) -> None:
        """Until the other end closes, or talks nonsense (ValueError)."""
        self._socket = connection
        frames = self._greet(connection)
        while data := connection.recv(_RECEIVE_SIZE):
            requests = frames.feed(data)
            if frames.session and frames.session != self._session:
                self._begin(frames.session)
            for frame in requests:
                op = REQUEST_HEADER.unpack_from(frame)[1]
                if op == OP_GREET:
                    frames = self._greet(connection)
                    break
                self._answer(connection, op, frame)

    def _greet(self, connection: socket.socket) -> GuestFrames:
        """To a relay of which nothing is known; whatever it had begun to say is passed over."""
        self._epoch = secrets.token_bytes(EPOCH_SIZE)
        flags = FLAG_CHECK_PERMISSIONS if self._state.owners.checks_permissions else 0
        self._send(connection, pack_greeting(self._epoch, secrets.token_bytes(SESSION_SIZE), flags))
        return GuestFrames(self._epoch)

    def _begin(self, session: bytes) -> None:
        """A mount that this server hasn't served before."""
        state = self._state
        with self._working:
            state.handles.clear()
            state.table.reset()
            try:
                state.journal.open(session, state.table)
            except OSError as error:
                log.warning("the list of files that the guest has open can't be kept: %s", error)
            self._session = session

    def _answer(self, connection: socket.socket, op: int, frame: bytes) -> None:
        if op == OP_HELD:
            self._held.set()
            return
        with self._working:
            reply = answer(self._state, frame)
            if self._state.journal.wants_rewrite(len(self._state.table)):
                self._state.journal.rewrite(self._session, self._state.table)
        if isinstance(reply, Later):
            self._finish_later(connection, reply)
        elif reply is not None:
            self._send(connection, wrap_reply(reply, self._epoch))

    def _finish_later(self, connection: socket.socket, later: Later) -> None:
        epoch = self._epoch
        if self._slow is None or not self._slow_slots.acquire(blocking=False):
            self._send(connection, wrap_reply(later.finish(), epoch))
            return

        def run() -> None:
            try:
                reply = wrap_reply(later.finish(), epoch)
            finally:
                self._slow_slots.release()
            with contextlib.suppress(OSError):  # the relay asks again
                self._send(connection, reply)

        self._slow.submit(run)

    def _send(self, connection: socket.socket, data: bytes) -> None:
        with self._sending:
            connection.sendall(data)

    # -- the end

    def _hold(self, timeout: float) -> None:
        """Every request that the relay has sent is answered when this returns, unless it took too long."""
        connection = self._socket
        if connection is None or not self._session:
            return
        with contextlib.suppress(OSError):
            self._send(connection, bytes([HOLD]))
            self._held.wait(timeout)
        deadline = time.monotonic() + timeout
        for _ in range(_SLOW_LIMIT):
            self._slow_slots.acquire(timeout=max(deadline - time.monotonic(), 0))

    def _shut(self) -> None:
        connection = self._socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _plan_handle_limit() -> int:
    """As many descriptors as this process may have, less what the rest of it needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_HANDLES if hard == resource.RLIM_INFINITY else min(hard, _MOST_HANDLES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARED_DESCRIPTORS, 64)
