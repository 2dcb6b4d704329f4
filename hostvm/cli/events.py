"""`events`: what happens, as it happens."""

from time import localtime, strftime, time

from hostvm.cli.arguments import Arguments
from hostvm.cli.output import write_out
from hostvm.cli.query import filters, with_query
from hostvm.cli.times import parse_time
from hostvm.client.jsontext import compact

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context

    Event = dict[str, object]


def events(context: "Context", arguments: Arguments) -> int:
    now = time()
    path = with_query(
        "/events", since=parse_time(arguments.text("since"), now), until=parse_time(arguments.text("until"), now),
        filters=filters(arguments),
    )  # fmt: skip
    template = arguments.text("format")
    for event in context.engine.lines("GET", path):
        write_out(_render(event, template) + "\n")
    return 0


def _render(event: "Event", template: str) -> str:
    if template == "json":
        return compact(event)
    if template:
        from hostvm.cli.render.formatted import render_record

        return render_record(event, template)
    return event_line(event)


def event_line(event: "Event") -> str:
    """`2024-05-06T07:08:09.000000000+00:00 container start 0123… (image=busybox, name=web)`."""
    actor = event.get("Actor")
    fields = actor if isinstance(actor, dict) else {}
    attributes = fields.get("Attributes")
    pairs = sorted(attributes.items()) if isinstance(attributes, dict) else []
    line = f"{_moment(event)} {event.get('Type')} {event.get('Action')} {fields.get('ID')}"
    return f"{line} ({', '.join(f'{key}={value}' for key, value in pairs)})" if pairs else line


def _moment(event: "Event") -> str:
    nanoseconds = event.get("timeNano") or 0
    assert isinstance(nanoseconds, int)
    seconds, fraction = divmod(nanoseconds, 10**9)
    local = localtime(seconds)
    zone = strftime("%z", local)
    return f"{strftime('%Y-%m-%dT%H:%M:%S', local)}.{fraction:09d}{zone[:3]}:{zone[3:]}"
