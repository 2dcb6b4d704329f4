"""Whether an answer is as Docker describes it: its status, its body, and every object in a stream of them."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator

from tests.description.swagger import Operation, Schema, load

#: What dockerd answers everywhere to what it can't read, can't do in the present state, or didn't expect.
EVERYWHERE = {400, 409, 500, 501, 503}
#: What dockerd answers beyond its description: what a filter, or a `save`, names isn't there.
ALSO = {("/containers/json", 404), ("/images/json", 404), ("/images/{name}/get", 404)}
#: dockerd upgrades these connections too: moby, api/server/router/container/exec.go and api/server/router/grpc.
UPGRADED = {"/exec/{id}/start", "/session", "/grpc"}
#: Keys of ours: whom an error blames and what helps.
OURS = {"kind", "hint"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer; `target` is the path with the query, `body` as it is behind any chunks."""

    method: str
    target: str
    status: int
    content_type: str
    body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.target} -> {self.status}"


def deviations(exchange: Exchange) -> list[str]:
    """What isn't as described, a line each. What isn't Docker's (`/hostvm/...`) has no description."""
    version, path = _split(exchange.target.partition("?")[0])
    operation = load().find(exchange.method, path)
    if operation is None or path.startswith("/hostvm/"):
        return []
    return [f"{exchange}: {problem}" for problem in _problems(exchange, operation, version in ("", "1.44"))]


def _split(path: str) -> tuple[str, str]:
    match = re.fullmatch(r"/v(\d+\.\d+)(/.*)", path)
    return (match[1], match[2]) if match else ("", path)


def _problems(exchange: Exchange, operation: Operation, newest: bool) -> Iterator[str]:
    status = exchange.status
    if status == 101 and operation.path in UPGRADED:
        return
    if status not in operation.responses and status not in EVERYWHERE and (operation.path, status) not in ALSO:
        yield f"status isn't described; these are: {sorted(operation.responses)}"
        return
    if status in (204, 304) and exchange.body:
        yield f"a body with {status}"
    schema = operation.responses.get(status, {"$ref": "#/definitions/ErrorResponse"} if status >= 400 else None)
    if schema is not None and exchange.content_type.startswith("application/json") and exchange.method != "HEAD":
        yield from _check_bodies(exchange, schema, newest)


def _check_bodies(exchange: Exchange, schema: Schema, newest: bool) -> Iterator[str]:
    """One object, or a stream of them, each on a line of its own."""
    if not exchange.body.strip():
        yield "no body"
        return
    try:
        documents = [json.loads(exchange.body)]
    except ValueError:
        documents = [json.loads(line) for line in exchange.body.splitlines() if line.strip()]
    for document in documents:
        yield from sorted({_say(error) for error in _validator(json.dumps(schema), newest).iter_errors(document)})


def _say(error: Any) -> str:
    return f"{error.json_path}: {error.message[:300]}"


@functools.cache
def _validator(schema: str, closed: bool) -> Validator:
    definitions = load().definitions
    whole = {**json.loads(schema), "definitions": definitions}
    return Draft202012Validator(_close(whole, ()) if closed else whole)


def _close(schema: Any, path: tuple[str, ...]) -> Any:
    """The same schema, with no keys but those that are described: that is how a misspelt one is found."""
    if isinstance(schema, list):
        return [_close(one, path) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _close(value, (*path, key)) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        ours = OURS if "ErrorResponse" in path else set()
        closed["properties"] |= {key: {} for key in ours}
        closed["additionalProperties"] = False
    return closed
