"""`inspect`, of anything or of one noun."""

from guest_agent.wire.errors import HostvmError, NotFound
from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_error, write_out
from hostvm.cli.query import escape
from hostvm.client.jsontext import compact, pretty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context

    Record = dict[str, object]

_PATHS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
}


def anything(context: "Context", arguments: Arguments) -> int:
    kind = arguments.text("type")
    if kind and kind not in _PATHS:
        known = '", "'.join(_PATHS)
        raise Failure(f'unknown type: "{kind}": must be one of "{known}"', 1)
    return _inspect(context, arguments, (kind,) if kind else tuple(_PATHS))


def container(context: "Context", arguments: Arguments) -> int:
    return _inspect(context, arguments, ("container",))


def image(context: "Context", arguments: Arguments) -> int:
    return _inspect(context, arguments, ("image",))


def network(context: "Context", arguments: Arguments) -> int:
    return _inspect(context, arguments, ("network",))


def volume(context: "Context", arguments: Arguments) -> int:
    return _inspect(context, arguments, ("volume",))


def _inspect(context: "Context", arguments: Arguments, kinds: tuple[str, ...]) -> int:
    """Prints what is found, then complains about what isn't."""
    found, complaints = [], []
    for name in arguments.positional:
        try:
            found.append(_find(context, name, kinds, arguments))
        except HostvmError as error:
            complaints.append(
                f"Error response from daemon: {error.message}" if len(kinds) == 1 else f"Error: {error.message}"
            )
    write_out(render_records(found, arguments.text("format")))
    for complaint in complaints:
        write_error(complaint + "\n")
    return 1 if complaints else 0


def _suffix(arguments: Arguments) -> str:
    sized = any(flag.name == "size" for flag in arguments.command.flags) and arguments.flag("size")
    return "?size=1" if sized else ""


def _find(context: "Context", name: str, kinds: tuple[str, ...], arguments: Arguments) -> "Record":
    suffix, template = _suffix(arguments), arguments.text("format")
    for kind in kinds:
        path = _PATHS[kind].format(escape(name))
        try:
            record = context.engine.find(path + (suffix if kind == "container" else ""))
            return _with_zeros(kind, record) if template not in ("", "json") else record
        except NotFound:
            if len(kinds) == 1:
                raise
    raise NotFound(f"No such object: {name}")


def _with_zeros(kind: str, record: "Record") -> "Record":
    from hostvm.cli.render.omitted import complete

    return complete(kind, record)


def render_records(records: "list[Record]", template: str) -> str:
    """The records as --format wants them."""
    if not template:
        return pretty(records) + "\n"
    if template == "json":
        return compact(records) + "\n"
    from hostvm.cli.render.formatted import render_record

    return "".join(render_record(record, template) + "\n" for record in records)
