"""Containers: list them, and change their state."""

from guest_agent.wire.errors import HostvmError, NotModified
from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure, refused
from hostvm.cli.output import write_error, write_out
from hostvm.cli.query import escape, filters, with_query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from hostvm.cli.main import Context

#: What stands around the words of a template's actions: `{{(json .) | print}}`.
_BETWEEN_WORDS = str.maketrans("{}()|", "     ")


def ps(context: "Context", arguments: Arguments) -> int:
    template = _template(arguments)
    size = arguments.flag("size") or (not arguments.given("size") and _wants_size(template))
    last = 1 if arguments.flag("latest") else arguments.number("last")
    path = with_query(
        "/containers/json", all=arguments.flag("all"), limit=last if last > 0 else None, size=size,
        filters=filters(arguments), **{"hostvm-brief": template in ("", "table")},
    )  # fmt: skip
    records = context.engine.ask_records(path)
    # While the engine works: these imports take as long as its answer.
    from hostvm.cli.listing import show
    from hostvm.cli.render.container_view import CONTAINERS

    shown = (*CONTAINERS.default, "Size") if size else CONTAINERS.default
    return show(CONTAINERS, records(), arguments, shown, arguments.flag("no-trunc"), template)


def _template(arguments: Arguments) -> str:
    """--format, which for `ps` and no other listing docker forgets where -q is given."""
    template = arguments.text("format")
    if template and arguments.flag("quiet"):
        write_error("WARNING: Ignoring custom format, because both --format and --quiet are set.\n")
        return ""
    return template


def _wants_size(template: str) -> bool:
    """Whether a template shows sizes: by name, or where it has a whole row as JSON. The engine takes long for them.

    `json` and the row are looked for anywhere: `{{with $row := .}}{{json $row}}{{end}}`.
    """
    words = template.translate(_BETWEEN_WORDS).split()
    return ".Size" in template or ("json" in words and ("." in words or "$" in words))


def each(names: list[str], act: "Callable[[str], None]", complaint: str = "") -> int:
    """Does it for every name; each refusal is a line on stderr, and makes the exit code 1.

    With a `complaint` a last line names all that were refused, as docker has it for `start`.
    """
    refusals = []
    for name in names:
        try:
            act(name)
        except NotModified:
            write_out(name + "\n")
        except HostvmError as error:
            write_error(refused(error).text + "\n")
            refusals.append(name)
        else:
            write_out(name + "\n")
    if refusals and complaint:
        write_error(f"Error: {complaint}: {', '.join(refusals)}\n")
    return 1 if refusals else 0


def _post_each(context: "Context", arguments: Arguments, verb: str, complaint: str = "") -> int:
    """`POST /containers/NAME/VERB` for every argument; `verb` may have a query."""

    def post(name: str) -> None:
        context.engine.call("POST", f"/containers/{escape(name)}/{verb}")

    return each(arguments.positional, post, complaint)


def start(context: "Context", arguments: Arguments) -> int:
    if arguments.flag("attach") or arguments.flag("interactive"):
        from hostvm.cli.execs import start_attached

        return start_attached(context, arguments)
    return _post_each(context, arguments, "start", complaint="failed to start containers")


def _stopping(arguments: Arguments, verb: str) -> str:
    """The verb with --signal and --timeout; a timeout of 0 is one too."""
    name = "timeout" if arguments.given("timeout") else "time"
    timeout = str(arguments.number(name)) if arguments.given(name) else None
    return with_query(verb, signal=arguments.text("signal"), t=timeout)


def stop(context: "Context", arguments: Arguments) -> int:
    return _post_each(context, arguments, _stopping(arguments, "stop"))


def restart(context: "Context", arguments: Arguments) -> int:
    return _post_each(context, arguments, _stopping(arguments, "restart"))


def kill(context: "Context", arguments: Arguments) -> int:
    return _post_each(context, arguments, with_query("kill", signal=arguments.text("signal")))


def pause(context: "Context", arguments: Arguments) -> int:
    return _post_each(context, arguments, "pause")


def unpause(context: "Context", arguments: Arguments) -> int:
    return _post_each(context, arguments, "unpause")


def rename(context: "Context", arguments: Arguments) -> int:
    old, new = arguments.positional
    try:
        context.engine.call("POST", with_query(f"/containers/{escape(old)}/rename", name=new))
    except HostvmError as error:
        raise Failure(f"{refused(error).text}\nError: failed to rename container named {old}") from error
    return 0


def rm(context: "Context", arguments: Arguments) -> int:
    force = arguments.flag("force")
    parameters = {"force": force, "v": arguments.flag("volumes"), "link": arguments.flag("link")}

    def remove(name: str) -> None:
        name = name.strip("/")
        if not name:
            raise Failure("Container name cannot be empty")
        try:
            context.engine.call("DELETE", with_query(f"/containers/{escape(name)}", **parameters))
        except HostvmError as error:
            if not (force and error.kind == "not-found"):
                raise
            write_error(refused(error).text + "\n")

    return each(arguments.positional, remove)


def wait(context: "Context", arguments: Arguments) -> int:
    code = 0
    for name in arguments.positional:
        try:
            answer = context.engine.call("POST", f"/containers/{escape(name)}/wait")
        except HostvmError as error:
            write_error(refused(error).text + "\n")
            code = 1
        else:
            write_out(f"{answer.get('StatusCode') if isinstance(answer, dict) else ''}\n")
    return code


def top(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.render.columns import tabulate

    name, *options = arguments.positional
    answer = context.engine.find(with_query(f"/containers/{escape(name)}/top", ps_args=" ".join(options)))
    titles, processes = answer.get("Titles"), answer.get("Processes")
    if isinstance(titles, list) and isinstance(processes, list):
        write_out(tabulate([titles, *processes]))
    return 0


def diff(context: "Context", arguments: Arguments) -> int:
    name = arguments.positional[0]
    if not name:
        raise Failure("Container name cannot be empty")
    changes = context.engine.records(f"/containers/{escape(name)}/changes")
    write_out("".join(f"{'CAD'[int(str(change['Kind']))]} {change['Path']}\n" for change in changes))
    return 0


def port(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.render.bindings import port_lines

    name, *wanted = arguments.positional
    record = context.engine.find(f"/containers/{escape(name)}/json")
    settings = record.get("NetworkSettings")
    ports = settings.get("Ports") if isinstance(settings, dict) else None
    lines = port_lines(ports if isinstance(ports, dict) else {}, wanted[0] if wanted else "")
    if wanted and not lines:
        raise Failure(f"Error: No public port '{wanted[0]}' published for {name}")
    write_out("".join(line + "\n" for line in lines))
    return 0
