"""Further contexts by the names that a client gives them (`--build-context NAME=...`), by what they are. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from guest_agent.engine.build_web import is_url
from guest_agent.wire.errors import Unsupported
from guest_agent.wire.git_sources import is_git

IMAGE = "docker-image://"
_LOCAL = "local:"


@dataclass(frozen=True, slots=True)
class NamedContexts:
    """Each maps a name in lower case, as stages have theirs, to its place."""

    images: Mapping[str, str]  #: references
    folders: Mapping[str, str]  #: what the client's session calls them
    remotes: Mapping[str, str]  #: repositories, and URLs of files


def parse_contexts(values: Mapping[str, str]) -> NamedContexts:
    """`NAME` or `NAME::PLATFORM` -> place; the platform is left aside. Raises Unsupported for other kinds of places."""
    images, folders, remotes = {}, {}, {}
    for key, value in values.items():
        name = key.partition("::")[0].lower()
        if value.startswith(IMAGE):
            images[name] = value.removeprefix(IMAGE)
        elif value.startswith(_LOCAL):
            folders[name] = value.removeprefix(_LOCAL)
        elif is_url(value) or is_git(value):
            remotes[name] = value
        else:
            raise Unsupported(f"the build context {key}={value} is of a kind that is not supported")
    return NamedContexts(images, folders, remotes)
