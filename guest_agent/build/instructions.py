"""What a Dockerfile can say: one frozen value for each kind of instruction. Words are as written, not yet expanded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from guest_agent.build.reading import Heredoc, Line
from guest_agent.wire.models import Healthcheck


@dataclass(frozen=True, slots=True)
class Env:
    line: Line
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Label:
    line: Line
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Arg:
    """The value None: it has no default."""

    line: Line
    pairs: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Words:
    """CMD, ENTRYPOINT, RUN's command: the JSON form's words, or one string for a shell."""

    words: tuple[str, ...]
    shell: bool


@dataclass(frozen=True, slots=True)
class Command:
    line: Line
    words: Words


@dataclass(frozen=True, slots=True)
class Entrypoint:
    line: Line
    words: Words


@dataclass(frozen=True, slots=True)
class Expose:
    line: Line
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Volumes:
    line: Line
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class User:
    line: Line
    user: str


@dataclass(frozen=True, slots=True)
class WorkingDir:
    line: Line
    path: str


@dataclass(frozen=True, slots=True)
class StopSignal:
    line: Line
    signal: str


@dataclass(frozen=True, slots=True)
class Shell:
    line: Line
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """HEALTHCHECK; `shell` says that the test's last word is for a shell."""

    line: Line
    check: Healthcheck


@dataclass(frozen=True, slots=True)
class OnBuild:
    line: Line
    trigger: str


@dataclass(frozen=True, slots=True)
class Maintainer:
    line: Line
    name: str


class MountKind(StrEnum):
    BIND = "bind"
    CACHE = "cache"
    TMPFS = "tmpfs"
    SECRET = "secret"
    SSH = "ssh"


@dataclass(frozen=True, slots=True)
class RunMount:
    """RUN --mount; what wasn't given is "", 0 or None."""

    kind: MountKind
    target: str = ""
    source: str = ""
    origin: str = ""  #: `from`: a stage, an image or a named context
    id: str = ""
    read_only: bool | None = None
    sharing: str = "shared"
    required: bool = False
    env: str = ""
    size: int = 0  #: bytes of a tmpfs
    mode: int | None = None
    uid: int = 0
    gid: int = 0

    @property
    def name(self) -> str:
        """Which of the client's secrets or agents it is; "" where a secret's mount says nothing of it."""
        if self.kind is MountKind.SECRET:
            return self.id or self.source or self.target.rpartition("/")[2]
        return self.id or "default"


@dataclass(frozen=True, slots=True)
class Run:
    line: Line
    words: Words
    mounts: tuple[RunMount, ...] = ()
    network: str = ""  #: "", default, none or host


@dataclass(frozen=True, slots=True)
class Copy:
    """COPY and ADD. `heredocs` are sources, too."""

    line: Line
    sources: tuple[str, ...]
    target: str
    heredocs: tuple[Heredoc, ...] = ()
    adds: bool = False
    origin: str = ""  #: --from
    owner: str = ""  #: --chown
    mode: str = ""  #: --chmod
    checksum: str = ""
    excludes: tuple[str, ...] = ()
    link: bool = False
    parents: bool = False
    keep_git_dir: bool = False
    unpack: bool | None = None


Instruction = (
    Arg
    | Check
    | Command
    | Copy
    | Entrypoint
    | Env
    | Expose
    | Label
    | Maintainer
    | OnBuild
    | Run
    | Shell
    | StopSignal
    | User
    | Volumes
    | WorkingDir
)


@dataclass(frozen=True, slots=True)
class Stage:
    """From one FROM to the next. `base` and `platform` are as written."""

    line: Line
    index: int
    base: str
    name: str  #: in lower case, "" without AS
    platform: str
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """`arguments` are the ARGs before the first FROM."""

    arguments: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    escape: str = "\\"

    def lines(self) -> Iterator[Line]:
        """All instructions' in order."""
        yield from (argument.line for argument in self.arguments)
        for stage in self.stages:
            yield stage.line
            yield from (instruction.line for instruction in stage.instructions)
