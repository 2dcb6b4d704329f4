"""/containers/{id}/exec and /exec/{id}/*."""

from __future__ import annotations

from guest_agent.api.container_streams import wanted_protocol
from guest_agent.api.contract import Engine, Exec
from guest_agent.api.fields import Fields, read_fields
from guest_agent.api.messages import Answer, Duplex, Hijack, Response, json_response
from guest_agent.api.render_config import Json
from guest_agent.api.router import Call, Route
from guest_agent.api.streams import frame, relay, stream_type
from guest_agent.engine.requests import ExecRequest
from guest_agent.wire.errors import CommandNotExecutable, CommandNotFound, HostvmError, InvalidArgument


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
        body = read_fields(await call.request.json())
        tty = body.flag("Tty") if "Tty" in body else None
        exec_ = self._execs.find(call.name)
        protocol, content_type = wanted_protocol(call), stream_type(exec_.request.tty, call.version)
        detach = body.flag("Detach")
        try:
            attachment = await self._execs.start(call.name, detach, tty, body.size("ConsoleSize"))
        except (CommandNotFound, CommandNotExecutable) as error:
            if detach:
                raise
            return Hijack(_Complaint(error, exec_.request.tty), content_type, protocol)
        if attachment is None:
            return Response(200)
        held = attachment
        return Hijack(lambda duplex: relay(duplex, held), content_type, protocol)

    async def resize(self, call: Call) -> Answer:
        self._execs.resize(call.name, *call.query.size())
        return Response(200)

    async def inspect(self, call: Call) -> Answer:
        return json_response(render_exec(self._execs.find(call.name)))


class _Complaint:
    """A session that only says why the command didn't start: dockerd has hijacked by then, and clients read the exit
    code from the exec's inspect."""

    def __init__(self, error: HostvmError, tty: bool) -> None:
        line = f"{error.message}\r\n".encode()
        self._output = line if tty else frame(1, line)

    async def __call__(self, duplex: Duplex) -> None:
        await duplex.write(self._output)


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
