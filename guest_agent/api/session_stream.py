"""One client's session as frames: what the engine tells goes out, what the client types goes in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from guest_agent.api.contract import Attachment
from guest_agent.api.fields import Fields, read_fields
from guest_agent.api.json_bodies import parse_json
from guest_agent.api.messages import Duplex
from guest_agent.wire import frames
from guest_agent.wire.errors import HostvmError, PeerMisbehaved, error_record

Kill = Callable[[str, str], Awaitable[None]]


class SessionStream:
    """Implements `contract.RunListener`. Output flows from `attached` on; `end` waits for its last byte.

    Input that comes before there is an attachment waits in the connection, so that the client waits with it.
    """

    def __init__(self, duplex: Duplex, kill: Kill) -> None:
        self._duplex = duplex
        self._kill = kill
        self._container_id = ""
        self._attachment: Attachment | None = None
        self._ready = asyncio.Event()
        self._output: asyncio.Task[None] | None = None

    # -- the engine's side

    def progress(self, report: dict[str, object]) -> None:
        self._tell(frames.PROGRESS, report)

    def created(self, container_id: str, warnings: tuple[str, ...]) -> None:
        self._container_id = container_id
        self._tell(frames.CREATED, {"Id": container_id, "Warnings": list(warnings)})

    def attached(self, attachment: Attachment) -> None:
        self._attachment = attachment
        self._ready.set()

    def started(self, container_id: str) -> None:
        """The output begins behind this frame."""
        self._container_id = container_id
        self._tell(frames.STARTED, {"Id": container_id})
        if self._attachment is not None:
            self._output = asyncio.ensure_future(self._relay_output(self._attachment))

    # -- the session's side

    async def end(self, exit_code: int | None, detached: bool) -> None:
        """The last frame: DETACHED, or EXIT with the code that the engine gave or that the attachment tells."""
        attachment = self._attachment
        if self._output is not None:
            await self._output
        if detached or (attachment is not None and attachment.detached):
            await self._duplex.write(frames.encode(frames.DETACHED))
            return
        if exit_code is None and attachment is not None:
            exit_code = await attachment.wait_exit()
        self._tell(frames.EXIT, {"StatusCode": exit_code or 0})

    async def fail(self, error: HostvmError) -> None:
        if self._output is not None:
            self._output.cancel()
        self._tell(frames.ERROR, error_record(error))

    def close(self) -> None:
        if self._output is not None:
            self._output.cancel()
        if self._attachment is not None:
            self._attachment.close()

    async def read_frames(self) -> None:
        """Returns when the client is gone. Raises PeerMisbehaved on what are no frames, InvalidArgument on bad JSON."""
        decoder = frames.FrameDecoder()
        while data := await self._duplex.read():
            try:
                received = decoder.feed(data)
            except frames.FrameTooLarge as error:
                raise PeerMisbehaved(str(error)) from error
            for kind, payload in received:
                await self._take(kind, payload)
        await self._duplex.wait_gone()

    async def _take(self, kind: int, payload: bytes) -> None:
        if kind == frames.SIGNAL and self._container_id and not self._ready.is_set():
            return await self._signal(payload)
        await self._ready.wait()
        attachment = self._attachment
        assert attachment is not None
        if kind == frames.STDIN:
            await attachment.write(payload)
        elif kind == frames.STDIN_EOF:
            await attachment.close_stdin()
        elif kind == frames.RESIZE:
            size = _payload(payload)
            attachment.resize(size.integer("h"), size.integer("w"))
        elif kind == frames.SIGNAL:
            await self._signal(payload)
        return None

    async def _signal(self, payload: bytes) -> None:
        """To the container; one that has just ended needs none."""
        try:
            await self._kill(self._container_id, _payload(payload).text("signal", "TERM"))
        except HostvmError:
            pass

    async def _relay_output(self, attachment: Attachment) -> None:
        while (piece := await attachment.read()) is not None:
            await self._duplex.write(frames.encode(*piece))

    def _tell(self, kind: int, payload: dict[str, object]) -> None:
        self._duplex.send(frames.encode(kind, json.dumps(payload).encode()))


def _payload(data: bytes) -> Fields:
    return read_fields(parse_json(data))
