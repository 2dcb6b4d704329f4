"""How a private repository is opened: by secrets of the build with BuildKit's names, which no step has to mount.

GIT_AUTH_HEADER is the whole value of the header, GIT_AUTH_TOKEN what hosts of repositories call a token; either with
".HOST" at its end is for that host alone, and goes first. Source: https://docs.docker.com/build/building/secrets/.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.git_sources import split_git_source

_HEADER, _TOKEN = "GIT_AUTH_HEADER", "GIT_AUTH_TOKEN"

Ask = Callable[[str], Awaitable[bytes | None]]


async def find_authorization(remote: str, ask: Ask) -> str:
    """The value of `Authorization` for a repository's web server; "" where none was given.

    `ask` gives a secret by its id. Raises InvalidArgument for one that can't be in a header.
    """
    url = urlsplit(split_git_source(remote)[0])
    if url.scheme not in ("http", "https"):
        return ""
    host = url.netloc.rpartition("@")[2]
    for kind in (_HEADER, _TOKEN):
        for name in (f"{kind}.{host}", kind):
            secret = await ask(name)
            if secret is not None:
                return _format(name, secret, is_token=kind == _TOKEN)
    return ""


def _format(name: str, secret: bytes, is_token: bool) -> str:
    text = secret.strip()
    value = b"Basic " + b64encode(b"x-access-token:" + text) if is_token else text
    if not value.isascii() or not value.decode().isprintable():
        raise InvalidArgument(f"the secret {name} can't be sent to a web server", "it has to be one line of ASCII")
    return value.decode()
