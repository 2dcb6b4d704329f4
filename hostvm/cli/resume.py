"""A `run` whose engine was killed: the container lives on, and so does the command.

The engine's successor has the log from its first byte. Of each stream we know how many bytes the user has; the rest of
the log is what was missed, and following it gives what comes. Cold: imported only when a stream was cut off.
"""

import _signal  # type: ignore[import-not-found]  # as in foreground.py

from guest_agent.wire.errors import HostvmError
from guest_agent.wire.frames import STDERR, STDOUT, FrameDecoder
from hostvm.cli.output import write_bytes
from hostvm.cli.query import escape, with_query
from hostvm.client.connection import Answer, Engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def resume(engine: Engine, identifier: str, received: dict[int, int], streams: list[str]) -> int:
    """Shows the rest of the output and gives the exit code. Raises HostvmError, also where --rm took the container."""
    container = f"/containers/{escape(identifier)}"
    path = with_query(f"{container}/logs", follow=True, stdout="stdout" in streams, stderr="stderr" in streams)
    # Asked before the output is followed: with --rm nobody knows the code any more after its end.
    wait = engine.ask("POST", f"{container}/wait")
    for stream, data in skip(read_log(engine.open("GET", path)), received):
        write_bytes(stream, data)
    answer = wait()
    code = answer.get("StatusCode") if isinstance(answer, dict) else None
    return code if isinstance(code, int) else 125


def read_log(answer: Answer) -> "Iterator[tuple[int, bytes]]":
    """(stream, data) of the answer to `…/logs`; a terminal's output is all stdout."""
    raw = answer.head.headers.get("content-type", "").startswith("application/vnd.docker.raw-stream")
    decoder = FrameDecoder()
    for chunk in answer.chunks():
        if raw:
            yield STDOUT, chunk
        else:
            yield from _gathered(decoder.feed(chunk))


def _gathered(frames: list[tuple[int, bytes]]) -> "Iterator[tuple[int, bytes]]":
    """Frames of one stream that follow each other as one piece: each line has its own, and writing costs."""
    start = 0
    for end in range(1, len(frames) + 1):
        kind = frames[start][0]
        if end == len(frames) or frames[end][0] != kind:
            yield (STDERR if kind == STDERR else STDOUT), b"".join([data for _, data in frames[start:end]])
            start = end


def skip(log: "Iterable[tuple[int, bytes]]", received: dict[int, int]) -> "Iterator[tuple[int, bytes]]":
    """The log without the first `received[stream]` bytes of each stream."""
    left = dict(received)
    for stream, data in log:
        known = min(left.get(stream, 0), len(data))
        left[stream] = left.get(stream, 0) - known
        if data[known:]:
            yield stream, data[known:]


def send_signals(engine: Engine, identifier: str, passed_on: "Iterable[tuple[int, str]]") -> None:
    """From here on the signals go to the container by the API, as the session that carried them is gone."""
    for number, name in passed_on:
        _signal.signal(number, _sender(engine, identifier, name))


def _sender(engine: Engine, identifier: str, name: str) -> "Callable[[int, object], None]":
    def send(_number: int, _frame: object) -> None:
        try:
            engine.call("POST", with_query(f"/containers/{escape(identifier)}/kill", signal=name))
        except HostvmError:
            pass  # it has ended

    return send
