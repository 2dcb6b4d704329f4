"""The agent: wires the channel's multiplexer to the port, to the services and to the guest's own programs."""

from __future__ import annotations

import socket

from guest_agent.agent.loop import Loop
from guest_agent.agent.port import Port
from guest_agent.agent.requests import HostSocket
from guest_agent.agent.services import ENGINE_SOCKET, Services
from guest_agent.wire.channel import Multiplexer
from guest_agent.wire.channel_stream import StreamEnd
from guest_agent.wire.errors import HostvmError


class Agent:
    """The multiplexer's owner. Nothing has to be done when the channel comes or goes: streams hear of it themselves."""

    def __init__(self, port: int, control: int, socket_path: str, engine_socket: str) -> None:
        mux = Multiplexer(self, is_host=False, most_peer_streams=4096)
        self.loop = Loop()
        self._port = Port(port, self.loop, mux)
        self.loop.after_each = self._port.flush
        init = socket.socket(fileno=control)
        init.setblocking(False)
        self._services = Services(self.loop, mux, init, engine_socket)
        self._requests = HostSocket(self.loop, mux, socket_path)
        self._port.flush()

    def up(self) -> None: ...

    def down(self, error: HostvmError) -> None: ...

    def frozen(self) -> None: ...

    def output_ready(self) -> None:
        """The loop flushes after each turn anyway."""

    def opened(self, stream: StreamEnd, request: dict[str, object]) -> None:
        self._services.serve(stream, request)


def run(port: int, control: int, socket_path: str, engine_socket: str = ENGINE_SOCKET) -> None:
    """Never returns. `port` is the virtio port, opened for reading and writing; `control` a stream socket to init."""
    Agent(port, control, socket_path, engine_socket).loop.run()
