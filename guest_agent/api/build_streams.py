"""What a build's client reads: docker's progress objects, one a line, and for our own client the files behind them."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from guest_agent.api.messages import render_json
from guest_agent.api.streams import begun, closing
from guest_agent.engine.build_requests import BuildStepFailed
from guest_agent.engine.build_results import BuildResult
from guest_agent.wire.errors import HostvmError

log = logging.getLogger(__name__)

Report = dict[str, object]
_FILES_FOLLOW = {"files": "tar"}


async def progress_lines(source: AsyncIterator[Report]) -> AsyncGenerator[bytes, None]:
    """Once the header has been sent an error can only be one more line."""
    async with closing(source) as reports:
        try:
            async for report in reports:
                yield render_json(report)
        except HostvmError as error:
            yield render_json({"errorDetail": _detail(error), "error": error.message})
        except Exception:
            log.exception("a build failed")
            yield render_json({"errorDetail": {"message": "internal error"}, "error": "internal error"})


async def lines_and_files(source: AsyncIterator[Report], result: BuildResult) -> AsyncGenerator[bytes, None]:
    """The lines of a build that fills `result`, one that says that the files follow, and the tar. Closes `result`.

    Raises HostvmError before the first line. Where a file can't be read the tar breaks off.
    """
    try:
        async with aclosing(progress_lines(await begun(source))) as lines:
            async for line in lines:
                yield line
        if result.image:
            yield render_json(_FILES_FOLLOW)
            async with aclosing(result.export()) as pieces:
                async for piece in pieces:
                    yield piece
    finally:
        result.close()


def _detail(error: HostvmError) -> Report:
    """Docker's clients read code and message; ours the rest as well."""
    detail: Report = {"message": error.message, "kind": error.kind, "hint": error.hint}
    return {"code": error.code, **detail} if isinstance(error, BuildStepFailed) else detail
