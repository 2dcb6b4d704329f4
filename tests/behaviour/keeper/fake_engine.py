"""An engine that is nothing but its descriptors: it hands them to the test and does what it is told.

argv: the test's control socket. Sends its pid with listener and channel (SCM_RIGHTS); a byte that comes back is its
exit status; the end of the connection ends it, too.
"""

import os
import signal
import socket
import sys

LISTENER, CHANNEL = 3, 4

with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
    control.connect(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(77))
    socket.send_fds(control, [b"%d" % os.getpid()], [LISTENER, CHANNEL])
    told = control.recv(1)
    os._exit(told[0] if told else 0)
