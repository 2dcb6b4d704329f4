"""/containers: what answers bit by bit: wait, logs, attach, export."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable

from guest_agent.api.contract import Engine
from guest_agent.api.messages import MAX_JSON, TYPE_JSON, Answer, Hijack, Response, Stream, render_json
from guest_agent.api.query import Query
from guest_agent.api.router import Call, Route
from guest_agent.api.streams import RAW, begun, chunks_of, log_stream, relay, stream_type
from guest_agent.engine.log_attributes import details_prefix
from guest_agent.engine.requests import AttachRequest, LogRequest, WaitResult
from guest_agent.wire.errors import HTTP_STATUS, HostvmError, InvalidArgument

_CONDITIONS = ("not-running", "next-exit", "removed")


class ContainerStreamsResource:
    def __init__(self, engine: Engine) -> None:
        self._containers = engine.containers

    def routes(self) -> tuple[Route, ...]:
        one = "/containers/{name}"
        return (
            Route("POST", f"{one}/wait", self.wait),
            Route("GET", f"{one}/logs", self.logs),
            Route("POST", f"{one}/attach", self.attach),
            Route("GET", f"{one}/export", self.export),
        )

    async def wait(self, call: Call) -> Answer:
        """The condition is registered before the header goes out: the docker CLI starts the container on seeing it."""
        condition = call.query.text("condition") or "not-running"
        if condition not in _CONDITIONS:
            raise InvalidArgument(f'invalid condition: "{condition}"')
        waiter = self._containers.waiter(call.name, condition)
        return Stream(_wait_body(waiter), content_type=TYPE_JSON)

    async def logs(self, call: Call) -> Answer:
        request = parse_logs(call.query)
        container = self._containers.find(call.name)
        tty = container.config.tty
        lines = self._containers.logs(call.name, request)
        prefix = details_prefix(container) if call.query.flag("details") else b""
        return Stream(log_stream(lines, tty, request.timestamps, prefix), content_type=stream_type(tty, call.version))

    async def attach(self, call: Call) -> Answer:
        """Attached before the 101 goes out: nothing that is printed from then on is missed.

        An error is plain text here, as dockerd has it: in its own code the connection is no HTTP any more.
        """
        await call.request.body.read(MAX_JSON)
        try:
            attachment = self._containers.attach(call.name, parse_attach(call.query))
        except HostvmError as error:
            return Response(HTTP_STATUS.get(error.kind, 500), f"{error.message}\r\n".encode(), RAW)
        protocol = wanted_protocol(call)
        content_type = stream_type(attachment.tty, call.version) if protocol else RAW
        return Hijack(lambda duplex: relay(duplex, attachment, not attachment.tty), content_type, protocol)

    async def export(self, call: Call) -> Answer:
        pieces = await begun(self._containers.export(call.name))
        return Stream(chunks_of(pieces), content_type="application/x-tar")


def wanted_protocol(call: Call) -> str:
    """The docker CLI asks for `Upgrade: tcp`; without it the answer is 200 and goes raw."""
    return "tcp" if call.request.headers.get("upgrade") else ""


async def _wait_body(waiter: Awaitable[WaitResult]) -> AsyncGenerator[bytes, None]:
    try:
        result = await waiter
    except HostvmError as error:
        result = WaitResult(-1, error.message)
    body: dict[str, object] = {"StatusCode": result.status_code}
    if result.error:
        body["Error"] = {"Message": result.error}
    yield render_json(body)


def parse_logs(query: Query) -> LogRequest:
    request = LogRequest(
        stdout=query.flag("stdout"),
        stderr=query.flag("stderr"),
        follow=query.flag("follow"),
        since_ns=query.timestamp("since"),
        until_ns=query.timestamp("until"),
        tail=_tail(query.text("tail")),
        timestamps=query.flag("timestamps"),
    )
    if not (request.stdout or request.stderr):
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    return request


def _tail(text: str) -> int | None:
    """What is no number means all, as with dockerd."""
    try:
        lines = int(text)
    except ValueError:
        return None
    return lines if lines >= 0 else None


def parse_attach(query: Query) -> AttachRequest:
    return AttachRequest(
        stdin=query.flag("stdin"),
        stdout=query.flag("stdout"),
        stderr=query.flag("stderr"),
        stream=query.flag("stream"),
        logs=query.flag("logs"),
        detach_keys=query.text("detachKeys"),
    )
