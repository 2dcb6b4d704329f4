"""Networks."""

from guest_agent.wire.errors import NotFound
from hostvm.cli.arguments import Arguments
from hostvm.cli.containers import each
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_out
from hostvm.cli.query import escape, filters, with_query
from hostvm.cli.render.container_view import join_map
from hostvm.cli.render.view import Row, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from hostvm.cli.main import Context


def _id(row: Row) -> str:
    return row.text("Id") if row.full else row.text("Id")[:12]


def _go_time(text: str) -> str:
    """RFC 3339 in UTC, as the engine has it, in the form of Go's time.String."""
    return text.removesuffix("Z").replace("T", " ", 1) + " +0000 UTC" if text.endswith("Z") else text


NETWORKS = View(
    "*formatter.networkContext",
    "ID",
    ("ID", "Name", "Driver", "Scope"),
    {
        "ID": ("NETWORK ID", _id),
        "Name": ("NAME", lambda row: row.text("Name")),
        "Driver": ("DRIVER", lambda row: row.text("Driver")),
        "Scope": ("SCOPE", lambda row: row.text("Scope")),
        "IPv4": ("IPV4", lambda row: str(bool(row.record.get("EnableIPv4", True))).lower()),
        "IPv6": ("IPV6", lambda row: str(bool(row.record.get("EnableIPv6"))).lower()),
        "Internal": ("INTERNAL", lambda row: str(bool(row.record.get("Internal"))).lower()),
        "Labels": ("LABELS", lambda row: join_map(row.record.get("Labels"))),
        "CreatedAt": ("CREATED AT", lambda row: _go_time(row.text("Created"))),
    },
)


def ls(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.listing import show

    records = context.engine.records(with_query("/networks", filters=filters(arguments)))
    records.sort(key=lambda record: str(record.get("Name")))
    return show(NETWORKS, records, arguments, (), arguments.flag("no-trunc"))


def create(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.request.networks import plan_network

    answer = context.engine.call("POST", "/networks/create", planned(plan_network, arguments))
    write_out(f"{answer.get('Id') if isinstance(answer, dict) else ''}\n")
    return 0


def rm(context: "Context", arguments: Arguments) -> int:
    def remove(name: str) -> None:
        try:
            context.engine.call("DELETE", f"/networks/{escape(name)}")
        except NotFound:
            if not arguments.flag("force"):
                raise

    return each(arguments.positional, remove)


def connect(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.request.attachments import plan_connect

    network = escape(arguments.positional[0])
    context.engine.call("POST", f"/networks/{network}/connect", planned(plan_connect, arguments))
    return 0


def disconnect(context: "Context", arguments: Arguments) -> int:
    network, container = arguments.positional
    body = {"Container": container, "Force": arguments.flag("force")}
    context.engine.call("POST", f"/networks/{escape(network)}/disconnect", body)
    return 0


def planned(plan: "Callable[[Arguments], dict[str, object]]", arguments: Arguments) -> "dict[str, object]":
    """The body; what can't be asked for is docker's message, and exit code 1."""
    try:
        return plan(arguments)
    except ValueError as error:
        raise Failure(str(error), 1) from None
