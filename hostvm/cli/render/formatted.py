"""`--format TEMPLATE`, for listings and for single records."""

from hostvm.cli.failure import Failure
from hostvm.cli.render.columns import tabulate
from hostvm.cli.render.gotemplate import TemplateError
from hostvm.cli.render.gotemplate.evaluate import Template
from hostvm.cli.render.view import Row, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class _Columns:
    """A row as a template sees it; without a row its fields are the headers."""

    def __init__(self, view: View, row: Row | None) -> None:
        self._view = view
        self._row = row

    def template_field(self, name: str) -> object:
        if name not in self._view.columns:
            raise TemplateError(
                f'executing "" at <.{name}>: can\'t evaluate field {name} in type {self._view.type_name}'
            )
        return self._row.field(name) if self._row else self._view.columns[name][0]

    def template_method(self, name: str, arguments: list[object]) -> object:
        """`.Label "key"`: the value of one label; its header is the key."""
        if name != "Label" or "Labels" not in self._view.columns or len(arguments) != 1:
            raise TemplateError(f"can't give argument to non-function .{name}")
        key = str(arguments[0])
        labels = self._row.record.get("Labels") if self._row else {key: key.rpartition(".")[2]}
        return labels.get(key, "") if isinstance(labels, dict) else ""

    def as_json(self) -> dict[str, str]:
        names = sorted(self._view.columns)
        return {name: self._row.field(name) if self._row else self._view.columns[name][0] for name in names}


def render_template(view: View, rows: "Sequence[Row]", text: str) -> str:
    """The rows through a template; `table TEMPLATE` puts a header on top and aligns the columns. Raises Failure."""
    text = text.replace("\\t", "\t").replace("\\n", "\n")
    is_table = text.startswith("table")
    try:
        template = _parse(text.removeprefix("table").lstrip(" ") if is_table else text, "failed to parse template", 1)
        lines = [template.render(_Columns(view, row)) for row in rows]
        if is_table:
            lines.insert(0, template.render(_Columns(view, None)))
            return _align(lines)
    except TemplateError as error:
        raise Failure(f"failed to execute template: template: :1:2: {error}", 1) from error
    return "".join(line + "\n" for line in lines)


def _align(lines: list[str]) -> str:
    rows = [line.split("\t") for line in lines]
    width = max(map(len, rows))
    return tabulate([[*row, *[""] * (width - len(row))] for row in rows])


def render_record(record: dict[str, object], text: str) -> str:
    """One record through a template. Raises Failure."""
    try:
        return _parse(text, "template parsing error", 64, strict=True).render(record)
    except TemplateError as error:
        raise Failure(f"template parsing error: template: :1:1: {error}", 1) from error


def _parse(text: str, complaint: str, code: int, strict: bool = False) -> Template:
    try:
        return Template(text, strict)
    except TemplateError as error:
        hint = "docker's Go templates: {{.Names}}, {{json .}}, {{range .Mounts}}…{{end}}"
        raise Failure(f"{complaint}: template: :1: {error}", code, hint) from error
