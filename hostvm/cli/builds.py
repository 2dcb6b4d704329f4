"""`build`."""

import os

from guest_agent.wire.errors import HostvmError
from hostvm.cli.arguments import Arguments
from hostvm.cli.build_body import open_body
from hostvm.cli.build_display import open_display
from hostvm.cli.build_report import Report
from hostvm.cli.credentials import registry_config
from hostvm.cli.failure import Failure, refused
from hostvm.cli.pulling import stream_error
from hostvm.cli.request.build import plan_path
from hostvm.client.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.build_body import Body
    from hostvm.cli.build_display import Display
    from hostvm.cli.build_output import Output
    from hostvm.cli.main import Context


def build(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.build_output import export, parse_output

    output = parse_output(arguments.text("output"))
    id_file = arguments.text("iidfile")
    if id_file:
        _forget_id(id_file)
    body = open_body(arguments)
    try:
        report, identity = _run(context, arguments, body, output)
    finally:
        body.close()
    if id_file:
        _write_id(id_file, identity)
    if output is not None:
        export(context, identity, report, output)
    return 0


def _run(context: "Context", arguments: Arguments, body: "Body", output: "Output | None") -> "tuple[Report, str]":
    """The engine's answer, of which the files are still to be read, and the image's id.

    Raises Failure with the exit code of the command that failed.
    """
    parameters = {**body.parameters, **_lend_agents(context, body.agents)}
    path, short_path = _paths(plan_path(arguments, os.environ.get, parameters), output)
    stdout_is_taken = output is not None and output.place == "-"
    header = registry_config()
    display = open_display(arguments.text("progress"), arguments.flag("quiet"), stdout_is_taken)
    try:
        headers = f"X-Registry-Config: {header}\r\n" if header else ""
        report = None if arguments.flag("no-cache") or arguments.flag("pull") else _ask_cache(context, short_path, body)
        if report is None:
            report = Report(context.engine.send_archive("POST", path, body.chunks, headers))
        return report, _follow(report, display)
    except HostvmError as error:
        display.fail()
        raise refused(error) from error
    finally:
        display.close()


def _paths(path: str, output: "Output | None") -> "tuple[str, str]":
    """Of a request with its whole context, and of one that asks the cache alone."""
    if output is None or not output.of_files:
        return path, f"/hostvm{path}"
    path = f"/hostvm/build/files{path.removeprefix('/build')}"
    return path, f"{path}&hostvm-cached=1"


def _lend_agents(context: "Context", agents: "dict[str, str]") -> "dict[str, object]":
    """The parameter that tells the engine of them."""
    if not agents:
        return {}
    from hostvm.cli.cold.agents import lend

    return {"hostvm-agents": dumps(lend(context.engine, agents))}


def _ask_cache(context: "Context", path: str, body: "Body") -> Report | None:
    """The build's report where the engine has all of it already; None where it has to be sent, for whatever reason.

    An engine that isn't ours doesn't know this path.
    """
    if body.short is None:
        return None
    try:
        return Report(context.engine.send_archive("POST", path, body.short()))
    except HostvmError:
        return None


def _follow(report: Report, display: "Display") -> str:
    identity = ""
    for record in report.lines():
        if "error" in record or "errorDetail" in record:
            display.fail()
            raise _build_failure(record)
        aux = record.get("aux")
        if isinstance(aux, dict) and aux.get("ID"):
            identity = str(aux["ID"])
        text = str(record.get("stream") or "")
        if text.startswith("sha256:"):
            identity = text.strip()
        display.take(record)
    return identity


def _build_failure(record: "dict[str, object]") -> Failure:
    """As docker's client: the message alone, and the command's own exit code."""
    error = stream_error(record)
    detail = record.get("errorDetail")
    code = detail.get("code") if isinstance(detail, dict) else None
    return Failure(error.message, code if isinstance(code, int) and 0 < code < 256 else 1, error.hint)


def _forget_id(path: str) -> None:
    """That of an earlier build mustn't stand for this one, should it fail."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise Failure(f"removing image ID file: remove {path}: {reason}", 1) from error


def _write_id(path: str, identity: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(identity)
    except OSError as error:
        raise Failure(f"failed to write the image ID: open {path}: {(error.strerror or '').lower()}", 1) from error
