"""The client's end of the private exchange, where a handler's signal comes at the worst moment."""

from __future__ import annotations

import subprocess
import sys

#: Signals that come to another thread than the one that waits: `select` isn't interrupted by them, as it isn't by one
#: that comes just before its system call, and the handler runs in the waiting thread all the same.
_SCRIPT = """
import os, signal, socket, threading
from guest_agent.wire import frames
from hostvm.client.session import Session

engine, stream = socket.socketpair()
engine.settimeout(10)
session = Session(stream, b"")
session.wake_on_signals()
signal.signal(signal.SIGWINCH, lambda *_: session.send(frames.RESIZE, b"{}"))

def send_signals():
    try:
        for _ in range(20):
            os.kill(os.getpid(), signal.SIGWINCH)
            print(frames.FrameDecoder().feed(engine.recv(100)) == [(frames.RESIZE, b"{}")])
    finally:
        engine.close()

other = threading.Thread(target=send_signals)
other.start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
session.run(lambda kind, payload: False)
other.join()
"""


def test_a_signal_that_select_does_not_see() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("True\n" * 20, "")
