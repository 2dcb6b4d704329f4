"""`build`."""

import os

from guest_agent.wire.errors import HostvmError
from hostvm.cli.arguments import Arguments
from hostvm.cli.build_body import open_body
from hostvm.cli.build_display import open_display
from hostvm.cli.credentials import registry_config
from hostvm.cli.failure import Failure, refused
from hostvm.cli.pulling import stream_error
from hostvm.cli.request.build import plan_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostvm.cli.build_body import Body
    from hostvm.cli.build_display import Display
    from hostvm.cli.main import Context


def build(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.build_output import export, parse_output

    output = parse_output(arguments.text("output"))
    stays = output is None or bool(arguments.texts("tag"))
    body = open_body(arguments)
    try:
        before = frozenset() if stays else _images(context)
        identity = _run(context, arguments, body, output is not None and output.place == "-")
    finally:
        body.close()
    if arguments.text("iidfile"):
        _write_id(arguments.text("iidfile"), identity)
    if output is not None:
        export(context, identity, output, keep=stays or identity in before)
    return 0


def _images(context: "Context") -> "frozenset[object]":
    """The ids of those that are there already: a build that comes to one of them leaves it alone."""
    return frozenset(image.get("Id") for image in context.engine.records("/images/json?all=1"))


def _run(context: "Context", arguments: Arguments, body: "Body", stdout_is_taken: bool) -> str:
    """The image's id. Raises Failure with the exit code of the command that failed."""
    path = plan_path(arguments, os.environ.get, body.parameters)
    header = registry_config()
    display = open_display(arguments.text("progress"), arguments.flag("quiet"), stdout_is_taken)
    try:
        headers = f"X-Registry-Config: {header}\r\n" if header else ""
        lines = None if arguments.flag("no-cache") or arguments.flag("pull") else _ask_cache(context, path, body)
        return _follow(context.engine.upload(path, body.chunks, headers) if lines is None else lines, display)
    except HostvmError as error:
        display.fail()
        raise refused(error) from error
    finally:
        display.close()


def _ask_cache(context: "Context", path: str, body: "Body") -> "Iterator[dict[str, object]] | None":
    """The build's report where the engine has all of it already; None where it has to be sent, for whatever reason.

    An engine that isn't ours doesn't know this path.
    """
    if body.short is None:
        return None
    try:
        return context.engine.upload(f"/hostvm{path}", body.short())
    except HostvmError:
        return None


def _follow(lines: "Iterator[dict[str, object]]", display: "Display") -> str:
    identity = ""
    for record in lines:
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


def _write_id(path: str, identity: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(identity)
    except OSError as error:
        raise Failure(f"failed to write the image ID: open {path}: {(error.strerror or '').lower()}", 1) from error
