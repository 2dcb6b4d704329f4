"""/hostvm/run, /hostvm/exec and /hostvm/attach: everything that our own client needs, in one exchange.

The request is HTTP with `Upgrade: hostvm-session`; after the 101 both directions carry frames (wire/frames.py). What is
wrong with the request is an HTTP error; what goes wrong afterwards is an ERROR frame. The same engine functions serve
Docker's endpoints: there is no second copy of any logic here.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from guest_agent.api.contract import Attachment, Engine
from guest_agent.api.credentials import parse_credentials
from guest_agent.api.execs import parse_exec
from guest_agent.api.fields import Fields, read_fields
from guest_agent.api.messages import Answer, Duplex, Hijack
from guest_agent.api.parse_config import parse_create
from guest_agent.api.router import Call, Route
from guest_agent.api.session_stream import SessionStream
from guest_agent.api.streams import first_of
from guest_agent.engine.requests import AttachRequest, RunRequest
from guest_agent.wire.errors import HostvmError, Internal, InvalidArgument

log = logging.getLogger(__name__)

PROTOCOL = "hostvm-session"
_PULL_POLICIES = ("missing", "always", "never")

Work = Callable[[SessionStream], Awaitable[None]]


class SessionResource:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("POST", "/hostvm/run", self.run),
            Route("POST", "/hostvm/exec", self.exec),
            Route("POST", "/hostvm/attach", self.attach),
        )

    async def run(self, call: Call) -> Answer:
        request = parse_run(await _body(call))

        async def work(stream: SessionStream) -> None:
            outcome = await self._engine.runs.run(request, stream)
            if not request.detach:
                await stream.end(outcome.exit_code, outcome.detached)

        return self._session(work)

    async def exec(self, call: Call) -> Answer:
        body = await _body(call)
        request = parse_exec(body.text("Container"), body.part("Exec"))
        detach, size = body.flag("Detach"), body.size("ConsoleSize")
        exec_id = self._engine.execs.create(request)

        async def work(stream: SessionStream) -> None:
            stream.created(exec_id, ())
            attachment = await self._engine.execs.start(exec_id, detach, size)
            if attachment is not None:
                stream.attached(attachment)
            stream.started(exec_id)
            if attachment is not None:
                await stream.end(None, False)

        return self._session(work)

    async def attach(self, call: Call) -> Answer:
        body = await _body(call)
        container, start, size = body.text("Container"), body.flag("Start"), body.size("ConsoleSize")
        containers = self._engine.containers
        container_id = containers.find(container).id
        attachment = containers.attach(container_id, parse_session_attach(body))

        async def work(stream: SessionStream) -> None:
            stream.attached(attachment)
            if start:
                await containers.start(container_id)
            if size != (0, 0) and attachment.tty:
                attachment.resize(*size)
            stream.started(container_id)
            await stream.end(None, False)

        return self._session(work, attachment)

    def _session(self, work: Work, attachment: Attachment | None = None) -> Answer:
        """`attachment` is what the handler already holds: given back even if the client is gone by then."""

        async def session(duplex: Duplex) -> None:
            stream = SessionStream(duplex, self._engine.containers.kill)
            try:
                await first_of(_guarded(work, stream), stream.read_frames(), duplex.wait_gone())
            except HostvmError as error:  # what the client sent made no sense
                await stream.fail(error)
            finally:
                stream.close()
                if attachment is not None:
                    attachment.close()

        return Hijack(session, protocol=PROTOCOL)


async def _guarded(work: Work, stream: SessionStream) -> None:
    """Errors leave as frames: the head of the answer is gone."""
    try:
        await work(stream)
    except HostvmError as error:
        await stream.fail(error)
    except Exception:
        log.exception("a session failed")
        await stream.fail(Internal("internal error; the engine's log has the details"))


async def _body(call: Call) -> Fields:
    body = read_fields(await call.request.json())
    if call.request.headers.get("upgrade", "") != PROTOCOL:
        raise InvalidArgument(f"this exchange needs the header Upgrade: {PROTOCOL}")
    return body


def parse_run(body: Fields) -> RunRequest:
    policy = body.text("Pull") or "missing"
    if policy not in _PULL_POLICIES:
        raise InvalidArgument(f'invalid pull option: \'{policy}\': must be one of "always", "missing" or "never"')
    create = parse_create(body.text("Name"), body.part("Config"), body.text("Platform"))
    if "ConsoleSize" in body:
        host = replace(create.host_config, console_size=body.size("ConsoleSize"))
        create = replace(create, host_config=host)
    return RunRequest(
        create=create,
        pull=policy,
        credentials=parse_credentials(body.text("RegistryAuth")),
        detach=body.flag("Detach"),
        attach=parse_session_attach(body),
    )


def parse_session_attach(body: Fields) -> AttachRequest:
    return AttachRequest(
        stdin=body.flag("AttachStdin") and not body.flag("NoStdin"),
        stdout=body.flag("AttachStdout"),
        stderr=body.flag("AttachStderr"),
        stream=True,
        logs=body.flag("Logs"),
        detach_keys=body.text("DetachKeys"),
    )
