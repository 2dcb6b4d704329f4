"""/containers/{id}/exec and /exec/{id}/*."""

from __future__ import annotations

from guest_agent.api.container_streams import wanted_protocol
from guest_agent.api.contract import Attachment, Engine, Exec
from guest_agent.api.fields import Fields, read_fields
from guest_agent.api.messages import Answer, Duplex, Hijack, Response, json_response
from guest_agent.api.render_config import Json
from guest_agent.api.router import Call, Route
from guest_agent.api.streams import RAW, first_of, frame, relay, stream_type
from guest_agent.engine.requests import ExecRequest
from guest_agent.wire.errors import HostvmError, InvalidArgument


class ExecsResource:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._execs = engine.execs

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("POST", "/containers/{name}/exec", self.create, durable=True),
            Route("POST", "/exec/{name}/start", self.start),
            Route("POST", "/exec/{name}/resize", self.resize),
            Route("GET", "/exec/{name}/json", self.inspect),
        )

    async def create(self, call: Call) -> Answer:
        request = parse_exec(call.name, read_fields(await call.request.json()))
        return json_response({"Id": self._execs.create(request)}, 201)

    async def start(self, call: Call) -> Answer:
        """As with dockerd the head of the answer goes out before the command is started, and what keeps it from
        starting is told in the stream: a client that reads the stream past its own buffer, as docker-py does, would
        lose output that comes together with the head. So is that it was started before: compose's watch starts each
        of its commands twice, the second time for the head of the answer alone.
        """
        body = read_fields(await call.request.json())
        exec_id = self._execs.find_active(call.name).id
        raw, size = body.flag("Tty"), body.size("ConsoleSize")
        if body.flag("Detach"):
            await self._execs.start(exec_id, True, size)
            return Response(200)

        async def session(duplex: Duplex) -> None:
            try:
                attachment = await self._execs.start(exec_id, False, size)
            except HostvmError as error:
                line = f"{error.message}\r\n".encode()
                await duplex.write(line if raw else frame(1, line))
                return
            if attachment is not None:
                await relay(duplex, attachment, framed=not raw)
                await _until_recorded(duplex, attachment)

        protocol = wanted_protocol(call)
        return Hijack(session, stream_type(raw, call.version) if protocol else RAW, protocol)

    async def resize(self, call: Call) -> Answer:
        self._execs.resize(call.name, *call.query.size())
        return Response(200)

    async def inspect(self, call: Call) -> Answer:
        return json_response(render_exec(self._execs.find(call.name)))


async def _until_recorded(duplex: Duplex, attachment: Attachment) -> None:
    """The stream ends after the exit code is known: clients ask for it as soon as they have read to the end."""

    async def exited() -> None:
        await attachment.wait_exit()

    if not attachment.detached:
        await first_of(exited(), duplex.wait_gone())


def parse_exec(container: str, body: Fields) -> ExecRequest:
    command = body.words("Cmd") or ()
    if not command:
        raise InvalidArgument("No exec command specified")
    return ExecRequest(
        container=container,
        command=command,
        environment=body.texts("Env") or (),
        working_dir=body.text("WorkingDir"),
        user=body.text("User"),
        tty=body.flag("Tty"),
        privileged=body.flag("Privileged"),
        attach_stdin=body.flag("AttachStdin"),
        attach_stdout=body.flag("AttachStdout"),
        attach_stderr=body.flag("AttachStderr"),
        detach_keys=body.text("DetachKeys"),
        console_size=body.size("ConsoleSize"),
    )


def render_exec(exec_: Exec) -> Json:
    request = exec_.request
    user = {"user": request.user} if request.user else {}
    return {
        "ID": exec_.id,
        "Running": exec_.running,
        "ExitCode": exec_.exit_code,
        "ProcessConfig": {
            "tty": request.tty,
            "entrypoint": request.command[0],
            "arguments": list(request.command[1:]),
            "privileged": request.privileged,
            **user,
        },
        "OpenStdin": request.attach_stdin,
        "OpenStderr": request.attach_stderr,
        "OpenStdout": request.attach_stdout,
        "CanRemove": False,
        "ContainerID": exec_.container_id,
        "DetachKeys": request.detach_keys,
        "Pid": exec_.pid,
    }
