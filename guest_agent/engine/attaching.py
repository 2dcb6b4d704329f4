"""A client's streams and a container's run come together."""

from __future__ import annotations

from guest_agent.engine.attachment import Attachment, LogSource, wanted_streams
from guest_agent.engine.container import Container
from guest_agent.engine.detach import parse_detach_keys
from guest_agent.engine.finished_lines import FinishedLines
from guest_agent.engine.parts import Parts, stdio_key
from guest_agent.engine.requests import AttachRequest


def attach_client(parts: Parts, container: Container, request: AttachRequest, from_start: bool) -> Attachment:
    """Tie a client to the present run, or to the coming one where none is under way."""
    parse_detach_keys(request.detach_keys)  # an error must come before anything listens
    live = parts.table.live(container.id)
    run = live.run
    past_lines = FinishedLines() if request.logs and container.running else None
    source = LogSource(live.log, run, from_start, wanted_streams(request), request.stream, past_lines)
    config = container.config
    parts.tell(container, "attach")
    return Attachment(
        source,
        run,
        request,
        config.tty,
        stdin_ends_with_client=config.stdin_once,
        release_stdin=lambda: parts.keeper.hold(stdio_key(container.id), *run.stdio.held()),
        tell_detached=lambda: parts.tell(container, "detach"),
    )
