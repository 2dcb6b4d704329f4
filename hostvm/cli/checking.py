"""`system check`."""

from hostvm.cli.arguments import Arguments
from hostvm.cli.output import write_error, write_out
from hostvm.cli.pulling import stream_error
from hostvm.cli.query import with_query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context

    Record = dict[str, object]


def check(context: "Context", arguments: Arguments) -> int:
    """1 if something is wrong and hasn't been mended."""
    left = found = 0
    for record in context.engine.lines("POST", with_query("/hostvm/check", repair=arguments.flag("repair"))):
        if "error" in record:
            raise stream_error(record)
        finding, checked = record.get("finding"), record.get("checked")
        if isinstance(finding, dict):
            found += 1
            left += not finding.get("remedy")
            write_out(finding_line(finding))
        elif isinstance(checked, dict):
            write_out(summary_line(checked, found))
    if left and not arguments.flag("repair"):
        write_error("hint: `hostvm system check --repair` fetches again what can be fetched, and sets the rest aside\n")
    return 1 if left else 0


def finding_line(finding: "Record") -> str:
    remedy = finding.get("remedy")
    return f"{finding.get('what')}: {finding.get('problem')}\n" + (f"  {remedy}\n" if remedy else "")


def summary_line(checked: "Record", found: int) -> str:
    parts = ", ".join(f"{checked.get(noun)} {noun}" for noun in ("images", "layers", "containers", "volumes"))
    problems = {0: "no problem", 1: "1 problem"}.get(found, f"{found} problems")
    return f"checked {parts}: {problems}\n"
