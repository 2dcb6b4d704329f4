"""Why a job failed, with the place in the Dockerfile, which buildx shows with the lines around it."""

from __future__ import annotations

import base64
import json

from guest_agent.build.reading import find_last_line
from guest_agent.build.selecting import SourceMissing
from guest_agent.buildkit.messages import Detail, RpcStatus
from guest_agent.buildkit.progress import canonical
from guest_agent.engine.build_requests import BuildStepFailed
from guest_agent.rpc.protobuf import encode
from guest_agent.rpc.status import CallFailed, Code
from guest_agent.wire.errors import HostvmError

_SOURCE = "github.com/moby/buildkit/errdefs.Source+json"


def words_of(error: HostvmError, job: str, base: str) -> str:
    """BuildKit's for what our own build says in the classic builder's. `base` is the image whose FROM has failed."""
    if isinstance(error, BuildStepFailed):
        return f'process "{error.command}" did not complete successfully: exit code: {error.code}'
    if isinstance(error.__cause__, SourceMissing):
        path = error.__cause__.path.lstrip("/")
        return f'failed to compute cache key: failed to calculate checksum of ref {job}: "/{path}": not found'
    if base:
        return f"{base}: failed to resolve source metadata for {canonical(base)}: {error.message}"
    return error.message


def failure(message: str, filename: str, dockerfile: bytes, line: int) -> CallFailed:
    """`line` counts from 1; 0 where the fault has no place. The code is UNKNOWN: clients don't show its name."""
    status = RpcStatus(Code.UNKNOWN, message)
    if 0 < line <= len(dockerfile.splitlines()):
        last = find_last_line(dockerfile, line)
        source = {
            "info": {"filename": filename or "Dockerfile", "data": base64.b64encode(dockerfile).decode()},
            "ranges": [{"start": {"line": number}, "end": {"line": number}} for number in range(line, last + 1)],
        }
        status = RpcStatus(Code.UNKNOWN, message, (Detail(_SOURCE, json.dumps(source).encode()),))
    return CallFailed(status.code, message, encode(status))
