"""The guest's end of a flow of datagrams, whose targets nobody listens at for a while."""

from __future__ import annotations

import socket
from typing import cast

from guest_agent.agent.flows import DatagramFlow
from guest_agent.agent.loop import Loop
from guest_agent.wire.channel_stream import StreamEnd
from guest_agent.wire.datagrams import encode
from guest_agent.wire.errors import Unavailable


class Heard:
    """A stream to the host."""

    queued = 0

    def __init__(self) -> None:
        self.said = b""

    def write(self, data: bytes) -> None:
        self.said += data


def bound(address: str, port: int = 0) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    one.settimeout(10)
    one.bind((address, port))
    return one


def test_after_the_last_target_the_first_is_tried_again() -> None:
    """A client that spoke before the container listened is heard when it does, by the address of its own family."""
    with bound("::1") as one, bound("127.0.0.1") as other:
        targets = [(str(each.getsockname()[0]), int(each.getsockname()[1])) for each in (one, other)]
    loop, heard = Loop(), Heard()
    flow = DatagramFlow(loop, targets, cast(StreamEnd, heard))
    flow.data(memoryview(encode(b"early")))
    loop.turn()  # refused by the first, sent to the second, and refused by it: on the loopback device all at once
    with bound(*targets[0]) as server:
        flow.data(memoryview(encode(b"late")))
        data, client = server.recvfrom(100)
        server.sendto(b"answer", client)
        loop.turn()
    assert (data, heard.said) == (b"late", encode(b"answer"))
    flow.reset(Unavailable("the end"))
