"""GET /containers/{id}/attach/ws: attach for browsers. Output of both streams comes unframed, as bytes of messages."""

from __future__ import annotations

import base64
import binascii
from collections import deque

from guest_agent.api.container_streams import parse_attach
from guest_agent.api.contract import Engine
from guest_agent.api.messages import Answer, Duplex, Hijack
from guest_agent.api.router import Call, Route
from guest_agent.api.streams import relay
from guest_agent.api.websocket_frames import (
    Close,
    CloseCode,
    Data,
    FrameReader,
    Opcode,
    Ping,
    accept_key,
    encode_close,
    encode_frame,
)
from guest_agent.engine.requests import AttachRequest
from guest_agent.wire.errors import InvalidArgument, PeerMisbehaved

_VERSION = "13"


class WebSocketResource:
    def __init__(self, engine: Engine) -> None:
        self._containers = engine.containers

    def routes(self) -> tuple[Route, ...]:
        return (Route("GET", "/containers/{name}/attach/ws", self.attach),)

    async def attach(self, call: Call) -> Answer:
        self._containers.find(call.name)  # dockerd complains of the container first
        key = check_handshake(call.request.headers)
        attachment = self._containers.attach(call.name, _request(call))
        binary = call.version >= (1, 28)

        async def session(duplex: Duplex) -> None:
            socket = WebSocket(duplex, Opcode.BINARY if binary else Opcode.TEXT)
            try:
                await relay(socket, attachment, framed=False)
            finally:
                socket.close()

        return Hijack(session, protocol="websocket", headers=(("Sec-WebSocket-Accept", accept_key(key)),))


def _request(call: Call) -> AttachRequest:
    """Before API 1.42 the streams couldn't be chosen."""
    chosen = parse_attach(call.query)
    if call.version >= (1, 42):
        return chosen
    return AttachRequest(True, True, True, chosen.stream, chosen.logs, chosen.detach_keys)


def check_handshake(headers: dict[str, str]) -> str:
    """The client's key. Raises InvalidArgument for what is no opening handshake (RFC 6455, section 4.2.1)."""
    connection = {word.strip().lower() for word in headers.get("connection", "").split(",")}
    if headers.get("upgrade", "").lower() != "websocket" or "upgrade" not in connection:
        raise InvalidArgument("not websocket protocol")
    if headers.get("sec-websocket-version") != _VERSION:
        raise InvalidArgument("missing or bad WebSocket Version")
    key = headers.get("sec-websocket-key", "")
    try:
        if len(base64.b64decode(key, validate=True)) == 16:
            return key
    except (binascii.Error, ValueError):
        pass
    raise InvalidArgument("mismatch challenge/response")


class WebSocket:
    """A `Duplex` of payloads on top of one of frames."""

    def __init__(self, duplex: Duplex, opcode: Opcode) -> None:
        self._duplex = duplex
        self._opcode = opcode
        self._frames = FrameReader()
        self._arrived: deque[bytes] = deque()
        self._ended = False
        self._close_sent = False

    async def read(self) -> bytes:
        """b"" at the peer's Close, at its end, and when it breaks the protocol."""
        while not self._arrived and not self._ended:
            self._take(await self._duplex.read())
        return self._arrived.popleft() if self._arrived else b""

    def _take(self, data: bytes) -> None:
        if not data:
            self._ended = True
            return
        try:
            for event in self._frames.feed(data):
                if isinstance(event, Data):
                    self._arrived.append(event.payload)
                elif isinstance(event, Ping):
                    self._duplex.send(encode_frame(Opcode.PONG, event.payload))
                else:
                    self._end(event)
        except PeerMisbehaved:
            self.close(CloseCode.PROTOCOL_ERROR)
            self._ended = True

    def _end(self, event: Close) -> None:
        """The peer's own code comes back (section 5.5.1)."""
        self.close(event.code)
        self._ended = True

    def send(self, data: bytes) -> None:
        if not self._close_sent:
            self._duplex.send(encode_frame(self._opcode, data))

    async def write(self, data: bytes) -> None:
        if not self._close_sent:
            await self._duplex.write(encode_frame(self._opcode, data))

    async def wait_gone(self) -> None:
        """A Close is the end of both directions."""
        if not self._close_sent:
            await self._duplex.wait_gone()

    def close(self, code: int = CloseCode.NORMAL) -> None:
        """Once; what is written later is dropped."""
        if not self._close_sent:
            self._duplex.send(encode_close(code))
            self._close_sent = True
