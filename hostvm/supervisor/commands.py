"""Commands in the guest for the command line: a channel stream on one side, frames on the other.

Frames, because the exit code has to follow the output, and the end of the input mustn't end the output.
"""

from __future__ import annotations

import asyncio
import json
import socket

from guest_agent.wire.errors import HostvmError, InvalidArgument, error_record
from guest_agent.wire.frames import ERROR, EXIT, STDIN, STDIN_EOF, STDOUT, FrameDecoder, FrameTooLarge, encode
from hostvm.supervisor.channel import Channel
from hostvm.supervisor.streams import Stream

_CHUNK = 64 << 10


async def run_command(channel: Channel, request: dict[str, object], client: socket.socket) -> None:
    """{"op":"command","argv":[..],"env":{..}?,"cwd":".."?}: {} as a line, then frames; EXIT or ERROR is the last."""
    fields: dict[str, object] = {key: request[key] for key in ("argv", "env", "cwd") if key in request}
    if not isinstance(fields.get("argv"), list):
        raise InvalidArgument("argv is missing")
    stream = await channel.open({"to": "command", **fields})
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(client, b"{}\n")
        feeding = asyncio.ensure_future(_feed(stream, client))
        try:
            await _drain(stream, client)
        finally:
            feeding.cancel()
    except OSError:
        stream.reset()
    finally:
        client.close()


async def _drain(stream: Stream, client: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await stream.read(_CHUNK):
            await loop.sock_sendall(client, encode(STDOUT, data))
        last = encode(EXIT, json.dumps({"StatusCode": stream.message.get("exit", 255)}).encode())
    except HostvmError as error:
        last = encode(ERROR, json.dumps(error_record(error)).encode())
    await loop.sock_sendall(client, last)


async def _feed(stream: Stream, client: socket.socket) -> None:
    """A client that goes away ends the command."""
    decoder = FrameDecoder()
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.sock_recv(client, _CHUNK):
            for kind, payload in decoder.feed(data):
                if kind == STDIN:
                    stream.write(payload)
                    await stream.drain()
                elif kind == STDIN_EOF:
                    stream.write_eof()
    except (OSError, HostvmError, FrameTooLarge):
        pass
    stream.reset()
