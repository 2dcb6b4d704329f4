"""Volumes."""

from hostvm.cli.arguments import Arguments
from hostvm.cli.containers import each
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_out
from hostvm.cli.query import escape, filters, with_query
from hostvm.cli.render.container_view import join_map
from hostvm.cli.render.units import human_size
from hostvm.cli.render.view import Row, View
from hostvm.cli.request.environment import as_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from hostvm.cli.main import Context


def _usage(row: Row, key: str, shown: "Callable[[int], str]") -> str:
    """What `system df` knows of a volume."""
    usage = row.record.get("UsageData")
    value = usage.get(key) if isinstance(usage, dict) else None
    return shown(value) if isinstance(value, int) and value >= 0 else "N/A"


VOLUMES = View(
    "*formatter.volumeContext",
    "Name",
    ("Driver", "Name"),
    {
        "Name": ("VOLUME NAME", lambda row: row.text("Name")),
        "Driver": ("DRIVER", lambda row: row.text("Driver")),
        "Scope": ("SCOPE", lambda row: row.text("Scope")),
        "Mountpoint": ("MOUNTPOINT", lambda row: row.text("Mountpoint")),
        "Labels": ("LABELS", lambda row: join_map(row.record.get("Labels"))),
        "Links": ("LINKS", lambda row: _usage(row, "RefCount", str)),
        "Size": ("SIZE", lambda row: _usage(row, "Size", human_size)),
        "Availability": ("AVAILABILITY", lambda row: "N/A"),
        "Group": ("GROUP", lambda row: "N/A"),
        "Status": ("STATUS", lambda row: "N/A"),
    },
)


def ls(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.listing import show

    answer = context.engine.find(with_query("/volumes", filters=filters(arguments)))
    volumes = answer.get("Volumes")
    records = [volume for volume in volumes if isinstance(volume, dict)] if isinstance(volumes, list) else []
    return show(VOLUMES, sorted(records, key=lambda volume: str(volume.get("Name"))), arguments)


def create(context: "Context", arguments: Arguments) -> int:
    if arguments.text("name") and arguments.positional:
        raise Failure("conflicting options: cannot specify a volume-name through both --name and as a positional arg")
    body = {
        "Name": arguments.positional[0] if arguments.positional else arguments.text("name"),
        "Driver": arguments.text("driver"),
        "DriverOpts": as_map(arguments.texts("opt")),
        "Labels": as_map(arguments.texts("label")),
    }
    answer = context.engine.call("POST", "/volumes/create", body)
    write_out(f"{answer.get('Name') if isinstance(answer, dict) else ''}\n")
    return 0


def rm(context: "Context", arguments: Arguments) -> int:
    def remove(name: str) -> None:
        context.engine.call("DELETE", with_query(f"/volumes/{escape(name)}", force=arguments.flag("force")))

    return each(arguments.positional, remove)
