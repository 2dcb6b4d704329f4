"""A listing: its columns, and the four forms in which `--format` can have them.

A view maps column names (what a template asks for) to a header and a function of the record. `Row` is one record seen
through a view: fields are worked out when asked for, as a template may want few of them.
"""

from hostvm.cli.render.columns import tabulate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Record = dict[str, object]
    Field = Callable[["Row"], str]


class Row:
    """One record of a view; `now` is in seconds since the epoch."""

    __slots__ = ("full", "now", "record", "view")

    def __init__(self, view: "View", record: "Record", now: float, full: bool) -> None:
        self.view = view
        self.record = record
        self.now = now
        self.full = full

    def text(self, key: str) -> str:
        """A field of the record, "" if it isn't there."""
        value = self.record.get(key)
        return "" if value is None else str(value)

    def number(self, key: str) -> int:
        value = self.record.get(key)
        return int(value) if isinstance(value, int | float) else 0

    def field(self, name: str) -> str:
        """A column's text. Raises KeyError."""
        return self.view.columns[name][1](self)


class View:
    """The columns that there are, those that the table shows, and the name that docker's errors call it by."""

    __slots__ = ("columns", "default", "key", "type_name")

    def __init__(
        self, type_name: str, key: str, default: tuple[str, ...], columns: "dict[str, tuple[str, Field]]"
    ) -> None:
        self.type_name = type_name
        self.key = key  #: the column that -q prints
        self.default = default
        self.columns = columns


def render(view: View, rows: "Sequence[Row]", template: str, quiet: bool, shown: tuple[str, ...] = ()) -> str:
    """The listing as `--format TEMPLATE` and `-q` want it; `shown` overrides the table's columns."""
    if quiet and template in ("", "table"):
        return "".join(f"{row.field(view.key)}\n" for row in rows)
    if template in ("", "table"):
        names = shown or view.default
        columns = [view.columns[name] for name in names]
        fields = [field for _header, field in columns]
        return tabulate([[header for header, _field in columns], *([field(row) for field in fields] for row in rows)])
    if template == "json":
        return "".join(_json(view, row) + "\n" for row in rows)
    from hostvm.cli.render.formatted import render_template

    return render_template(view, rows, template)


def _json(view: View, row: Row) -> str:
    from hostvm.cli.render.gotemplate.functions import safe_for_html
    from hostvm.client.jsontext import compact

    # Go's json.Marshal makes its output safe for HTML.
    return safe_for_html(compact({name: row.field(name) for name in sorted(view.columns)}))
