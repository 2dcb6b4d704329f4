"""What a build can be asked for, and how it can fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from guest_agent.wire.errors import Conflict, InvalidArgument
from guest_agent.wire.models import Credentials, ImageConfig
from guest_agent.wire.resources import Resources


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """Docker's /build, every default explicit. `tags` are as the user wrote them.

    `in_parts`: the body isn't the context but has it below `context/`, or as a tar of its own, which may be compressed,
    in pieces `context.tar/N` (names in order, since a tar that is still to come has no size), or not at all where it is
    `remote`; and beside it what docker's API has no place for: the file `dockerfile`, `secret/ID`, and further contexts
    as `named/NAME/`.
    """

    tags: tuple[str, ...] = ()
    dockerfile: str = "Dockerfile"
    target: str = ""
    arguments: Mapping[str, str | None] = field(default_factory=dict)  #: None takes the name back
    labels: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    no_cache_stages: frozenset[str] = frozenset()  #: names, in lower case
    pull: bool = False
    cache_from: tuple[str, ...] = ()
    own_cache_too: bool = False  #: beside `cache_from`, which stands alone with the classic builder
    platform: str = ""
    squash: bool = False
    network_mode: str = ""
    host_network: bool = True  #: whether a step may have the host's network
    extra_hosts: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    cgroup_parent: str = ""
    shm_size: int = 0  #: 0 = docker's default
    security_opt: tuple[str, ...] = ()
    quiet: bool = False
    remote: str = ""
    credentials: Mapping[str, Credentials] = field(default_factory=dict)  #: by registry
    in_parts: bool = False
    named_images: Mapping[str, str] = field(default_factory=dict)  #: a context's name -> the image that it is
    named_remotes: Mapping[str, str] = field(default_factory=dict)  #: a context's name -> a repository, or a file's URL
    unstored: Mapping[str, ImageConfig] = field(default_factory=dict)  #: by id: what builds hold that make no image
    agents: Mapping[str, str] = field(default_factory=dict)  #: an ssh agent's id -> its lines' token
    by_buildkit: bool = False  #: a Dockerfile may make nothing, or a volume in the place of a file
    workdir_for_user: bool = False  #: WORKDIR makes a folder for the USER, as BuildKit does, instead of for root
    context_key: str = ""  #: the client's word for its context: the same only where the context is
    cached_only: bool = False  #: without the context; where a step has to be carried out, the build is NotCached
    for_files: bool = False  #: the result is wanted as files: no image is made, and `tags` are none


class NotCached(Conflict):
    """More is needed than the cache has; nothing has been done. Who asked sends the whole context."""

    def __init__(self, message: str = "the build isn't in the cache", hint: str = "") -> None:
        super().__init__(message, hint)


class BuildStepFailed(InvalidArgument):
    """A RUN's `command` ended badly; `code` is its exit code."""

    def __init__(self, command: str, code: int, hint: str = "") -> None:
        super().__init__(f"The command '{command}' returned a non-zero code: {code}", hint)
        self.command = command
        self.code = code
