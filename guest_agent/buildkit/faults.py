"""Why a job failed, with the place in the Dockerfile, which buildx shows with the lines around it."""

from __future__ import annotations

import base64
import json

from guest_agent.build.reading import find_last_line
from guest_agent.buildkit.messages import Detail, RpcStatus
from guest_agent.rpc.protobuf import encode
from guest_agent.rpc.status import CallFailed, Code

_SOURCE = "github.com/moby/buildkit/errdefs.Source+json"


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
