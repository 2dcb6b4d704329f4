"""`logs`: the engine's stream, cut into stdout and stderr."""

from time import time

from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_bytes
from hostvm.cli.query import escape, with_query
from hostvm.cli.resume import read_log
from hostvm.cli.times import parse_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context


def logs(context: "Context", arguments: Arguments) -> int:
    now = time()
    path = with_query(
        f"/containers/{escape(arguments.positional[0])}/logs", stdout=True, stderr=True,
        follow=arguments.flag("follow"), timestamps=arguments.flag("timestamps"), details=arguments.flag("details"),
        since=_parse_moment(arguments, "since", now), until=_parse_moment(arguments, "until", now),
        tail=arguments.text("tail"),
    )  # fmt: skip
    for stream, data in read_log(context.engine.open("GET", path)):
        write_bytes(stream, data)
    return 0


def _parse_moment(arguments: Arguments, name: str, now: float) -> str:
    try:
        return parse_time(arguments.text(name), now)
    except Failure as failure:
        raise Failure(f'invalid value for "{name}": {failure.text}', failure.code) from None
