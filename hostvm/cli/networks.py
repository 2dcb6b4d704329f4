"""Networks."""

from hostvm.cli.arguments import Arguments
from hostvm.cli.query import filters, with_query
from hostvm.cli.render.container_view import join_map
from hostvm.cli.render.view import Row, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context


def _id(row: Row) -> str:
    return row.text("Id") if row.full else row.text("Id")[:12]


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
        "CreatedAt": ("CREATED AT", lambda row: row.text("Created")),
    },
)


def ls(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.listing import show

    records = context.engine.records(with_query("/networks", filters=filters(arguments)))
    records.sort(key=lambda record: str(record.get("Name")))
    return show(NETWORKS, records, arguments, (), arguments.flag("no-trunc"))
