"""`search`."""

from hostvm.cli.arguments import Arguments
from hostvm.cli.query import filters, with_query
from hostvm.cli.render.units import ellipsis
from hostvm.cli.render.view import Row, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context


def _description(row: Row) -> str:
    text = row.text("description").replace("\n", " ").replace("\r", " ")
    return text if row.full else ellipsis(text, 45)


def _ok(row: Row, key: str) -> str:
    return "[OK]" if row.record.get(key) else ""


RESULTS = View(
    "*formatter.searchContext",
    "Name",
    ("Name", "Description", "StarCount", "IsOfficial"),
    {
        "Name": ("NAME", lambda row: row.text("name")),
        "Description": ("DESCRIPTION", _description),
        "StarCount": ("STARS", lambda row: row.text("star_count")),
        "IsOfficial": ("OFFICIAL", lambda row: _ok(row, "is_official")),
        "IsAutomated": ("AUTOMATED", lambda row: _ok(row, "is_automated")),
    },
)


def search(context: "Context", arguments: Arguments) -> int:
    from time import time

    from hostvm.cli.output import write_out
    from hostvm.cli.render.view import render

    path = with_query(
        "/images/search",
        term=arguments.positional[0],
        limit=arguments.number("limit") or None,
        filters=filters(arguments),
    )
    rows = [Row(RESULTS, record, time(), arguments.flag("no-trunc")) for record in context.engine.records(path)]
    write_out(render(RESULTS, rows, arguments.text("format"), False))
    return 0
