"""What every listing does after its request: rows, format, stdout."""

from time import time

from hostvm.cli.arguments import Arguments
from hostvm.cli.output import write_out
from hostvm.cli.render.view import Row, View, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.render.view import Record


def show(
    view: View,
    records: "list[Record]",
    arguments: Arguments,
    shown: tuple[str, ...] = (),
    full: bool = False,
    template: str | None = None,
) -> int:
    """Prints the records through the view, in the form that --format (or `template` in its stead) and -q ask for."""
    now = time()
    rows = [Row(view, record, now, full) for record in records]
    text = arguments.text("format") if template is None else template
    write_out(render(view, rows, text, arguments.flag("quiet"), shown))
    return 0
