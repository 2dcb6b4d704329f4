"""`stats`: what containers use, once or as it goes on.

One thread: a stream for each container and one for events, and `select` over all of them.
"""

from select import select
from time import monotonic, time

from guest_agent.wire.errors import HostvmError, PeerMisbehaved
from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure, refused
from hostvm.cli.output import write_out
from hostvm.cli.query import escape, with_query
from hostvm.cli.render.stats_view import CONTAINER, INVALID, STATS
from hostvm.cli.render.view import Row, render
from hostvm.client.connection import Answer, LineReader
from hostvm.client.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context

    Record = dict[str, object]

#: Seconds between two pictures, as docker's.
_EVERY = 0.5
#: Seconds after which a container that says nothing is shown as "--".
_SILENCE = 2.0


def stats(context: "Context", arguments: Arguments) -> int:
    names = [name for name in arguments.positional if name]
    if arguments.flag("no-stream"):
        _print(_once(context, names or _list(context, arguments.flag("all"))), arguments)
        return 0
    return _Board(context, names, arguments).run()


def _list(context: "Context", everything: bool) -> list[str]:
    records = context.engine.records(with_query("/containers/json", all=everything))
    return [str(record.get("Id"))[:12] for record in records]


def _once(context: "Context", names: list[str]) -> "list[Record]":
    """All are asked before the first is heard: each takes a second. Raises Failure with every refusal."""
    answers = [(name, context.engine.ask("GET", f"/containers/{escape(name)}/stats?stream=0")) for name in names]
    records, refusals = [], []
    for name, answer in answers:
        try:
            value = answer()
        except HostvmError as error:
            refusals.append(refused(error).text)
        else:
            records.append(_named(value, name))
    if refusals:
        raise Failure("\n".join(refusals))
    return records


def _named(value: object, name: str) -> "Record":
    return {**(value if isinstance(value, dict) else {}), CONTAINER: name}


def _print(records: "list[Record]", arguments: Arguments, begin: str = "", line_end: str = "", end: str = "") -> None:
    rows = [Row(STATS, record, time(), arguments.flag("no-trunc")) for record in records]
    text = render(STATS, rows, arguments.text("format"), False)
    write_out(begin + text.replace("\n", f"{line_end}\n") + end)


class _Feed:
    """The stream of one container."""

    def __init__(self, name: str, answer: Answer) -> None:
        self.lines = LineReader(answer)
        self.heard = False
        self.record: Record = {CONTAINER: name, INVALID: True}
        self._name = name
        self._heard_at = monotonic()
        self._keep(self.lines.take_rest())

    def take(self) -> None:
        """What has arrived; the newest sample counts."""
        self._keep(self.lines.take())

    def _keep(self, samples: "list[Record]") -> None:
        for value in samples:
            self.record = _named(value, self._name)
            self.heard, self._heard_at = True, monotonic()

    def shown(self) -> "Record":
        """The newest sample, without its numbers where nothing newer has come for long."""
        if self.lines.ended or monotonic() - self._heard_at > _SILENCE:
            return {**{key: self.record.get(key) for key in ("id", "name", CONTAINER)}, INVALID: True}
        return self.record


class _Board:
    """The table that is drawn again and again. Without names its rows come and go with the containers."""

    def __init__(self, context: "Context", names: list[str], arguments: Arguments) -> None:
        self._engine = context.engine
        self._arguments = arguments
        self._everything = arguments.flag("all")
        self._follows_events = not names
        self._feeds: dict[str, _Feed] = {}
        self._events: LineReader | None = None
        if self._follows_events:
            filters = dumps({"type": ["container"], "event": ["create", "start", "die", "destroy"]})
            self._events = LineReader(self._engine.open("GET", with_query("/events", filters=filters)))
            self._events.take_rest()
            names = _list(context, self._everything)
        for name in names:
            self._add(name)

    def run(self) -> int:
        """Until the engine ends, or there is nothing left to show."""
        began = monotonic()
        next_picture = began
        write_out("\x1b[2J")
        while self._feeds or self._follows_events:
            self._listen(max(0.0, next_picture - monotonic()))
            if self._events is not None and self._events.ended:
                break
            waits_for_first = any(not feed.heard for feed in self._feeds.values()) and monotonic() - began < _SILENCE
            if monotonic() >= next_picture and not waits_for_first:
                next_picture = monotonic() + _EVERY
                records = [feed.shown() for feed in self._feeds.values()]
                _print(records, self._arguments, "\x1b[H", "\x1b[K", "\x1b[J")
                if not self._follows_events and all(feed.lines.ended for feed in self._feeds.values()):
                    break
        return 0

    def _listen(self, seconds: float) -> None:
        """Takes what has come within that time."""
        by_descriptor = {feed.lines.fileno(): feed for feed in self._feeds.values() if not feed.lines.ended}
        sources = [*by_descriptor, *([self._events.fileno()] if self._events else [])]
        for descriptor in select(sources, [], [], seconds or 0.01)[0]:
            feed = by_descriptor.get(descriptor)
            if feed is not None:
                feed.take()
            elif self._events is not None:
                for event in self._events.take():
                    self._hear(event)

    def _hear(self, event: "Record") -> None:
        actor = event.get("Actor")
        name = str(actor.get("ID") if isinstance(actor, dict) else "")[:12]
        action = event.get("Action")
        if action == "start" or (action == "create" and self._everything):
            self._add(name)
        elif action == "destroy" or (action == "die" and not self._everything):
            feed = self._feeds.pop(name, None)
            if feed is not None:
                feed.lines.close()

    def _add(self, name: str) -> None:
        if name in self._feeds:
            return
        try:
            self._feeds[name] = _Feed(name, self._engine.open("GET", f"/containers/{escape(name)}/stats"))
        except PeerMisbehaved:
            raise
        except HostvmError as error:
            if not self._follows_events:
                raise refused(error) from error
