"""Method and path to handler, the version prefix, and the door where errors become answers.

Paths without a placeholder are looked up in a table; the others are tried in order, per method and first word. A
placeholder takes slashes: names of images have some (`/images/localhost:5000/a/b:1/json`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from guest_agent.api.messages import Answer, Request, Response, json_response, no_content
from guest_agent.api.query import Query
from guest_agent.wire.errors import HTTP_STATUS, HostvmError, InvalidArgument, NotModified

log = logging.getLogger(__name__)

API_VERSION = (1, 44)
MIN_API_VERSION = (1, 24)


@dataclass(frozen=True, slots=True)
class Call:
    """A request on its way to its handler. `name` is what the path's placeholder matched."""

    request: Request
    query: Query
    version: tuple[int, int]
    name: str = ""


Handler = Callable[[Call], Awaitable[Answer]]
PromptHandler = Callable[[Call], Response | None]


@dataclass(frozen=True, slots=True)
class Route:
    """`path` has at most one `{name}`. A `durable` request is carried out even if its client goes away meanwhile.

    `at_once` gives the handler's answer where nothing has to be waited for, else None.
    """

    method: str
    path: str
    handler: Handler
    durable: bool = False
    at_once: PromptHandler | None = None


class Router:
    """Calls the handler of a request; never raises but for cancellation."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._fixed = {(route.method, route.path): route for route in routes if "{name}" not in route.path}
        self._patterns: dict[tuple[str, str], list[tuple[re.Pattern[str], Route]]] = {}
        for route in routes:
            if "{name}" in route.path:
                key = (route.method, route.path.split("/")[1])
                self._patterns.setdefault(key, []).append((_compile(route.path), route))

    async def __call__(self, request: Request) -> Answer:
        try:
            route, call = self._route(request)
            request.survives_client = route.durable
            return await route.handler(call)
        except Exception as error:
            return _failure(request, error)

    def at_once(self, request: Request) -> Response | None:
        """The answer, where the route gives one without waiting."""
        try:
            route, call = self._route(request)
            return route.at_once(call) if route.at_once else None
        except Exception as error:
            return _failure(request, error)

    def _route(self, request: Request) -> tuple[Route, Call]:
        version, path = split_version(request.path)
        route, name = self._find(request.method, path)
        return route, Call(request, Query(request.query), version, name)

    def _find(self, method: str, path: str) -> tuple[Route, str]:
        route = self._fixed.get((method, path)) or self._fixed.get((method, path.rstrip("/")))
        if route is not None:
            return route, ""
        for pattern, candidate in self._patterns.get((method, path[1:].partition("/")[0]), ()):
            match = pattern.fullmatch(path)
            if match is not None:
                return candidate, match[1]
        return _NO_ROUTE if method != "OPTIONS" else _ANY_OPTIONS, ""


def _compile(path: str) -> re.Pattern[str]:
    before, _, after = path.partition("{name}")
    return re.compile(re.escape(before) + "(.+)" + re.escape(after), re.DOTALL)


_VERSION = re.compile(r"/v([0-9]+)\.([0-9]+)(/.*)", re.DOTALL)


def split_version(path: str) -> tuple[tuple[int, int], str]:
    """The API version that the client speaks (ours, if it says none) and the path behind it.

    Raises InvalidArgument in dockerd's words for versions out of range.
    """
    match = _VERSION.fullmatch(path)
    if match is None:
        return API_VERSION, path
    version = (int(match[1][:9]), int(match[2][:9]))
    if version > API_VERSION:
        raise InvalidArgument(
            f"client version {match[1]}.{match[2]} is too new. Maximum supported API version is {_text(API_VERSION)}"
        )
    if version < MIN_API_VERSION:
        raise InvalidArgument(
            f"client version {match[1]}.{match[2]} is too old. Minimum supported API version is "
            f"{_text(MIN_API_VERSION)}, please upgrade your client to a newer version"
        )
    return version, match[3]


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def error_response(error: HostvmError) -> Response:
    """Docker's clients read `message`; ours the rest as well."""
    status = HTTP_STATUS.get(error.kind, 500)
    return json_response({"message": error.message, "kind": error.kind, "hint": error.hint}, status)


def _failure(request: Request, error: Exception) -> Response:
    """To be called while the error is being handled: an unexpected one is logged with its trace."""
    if isinstance(error, NotModified):
        return Response(304)
    if isinstance(error, HostvmError):
        return error_response(error)
    log.exception("%s %s failed", request.method, request.path)
    return json_response({"message": "internal error; the engine's log has the details"}, 500)


async def _page_not_found(call: Call) -> Answer:
    return json_response({"message": "page not found"}, 404)


async def _options(call: Call) -> Answer:
    return Response(200)


_NO_ROUTE = Route("", "", _page_not_found)
_ANY_OPTIONS = Route("", "", _options)

__all__ = ["API_VERSION", "MIN_API_VERSION", "Call", "Handler", "Route", "Router", "error_response", "no_content"]
