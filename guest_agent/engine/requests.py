"""What the engine can be asked for: frozen, every default explicit."""

from __future__ import annotations

from dataclasses import dataclass, field

from guest_agent.wire.models import ContainerConfig, Credentials, HostConfig, RestartPolicy
from guest_agent.wire.networks import EndpointSettings
from guest_agent.wire.resources import Resources


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """Make a container; `name` "" lets the engine choose one."""

    name: str
    config: ContainerConfig
    host_config: HostConfig
    platform: str = ""
    networks: tuple[EndpointSettings, ...] = ()  #: as they were asked for, with the names that the user gave


@dataclass(frozen=True, slots=True)
class Created:
    id: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AttachRequest:
    """Which streams a client wants. `detach_keys` "" means ctrl-p,ctrl-q; `logs` replays what was written before."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    stream: bool = True
    logs: bool = False
    detach_keys: str = ""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Pull by policy ("missing", "always", "never"), create, attach and start, in one exchange."""

    create: CreateRequest
    pull: str = "missing"
    credentials: Credentials | None = None
    detach: bool = False
    attach: AttachRequest = field(default_factory=AttachRequest)


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """Run another command in a running container."""

    container: str
    command: tuple[str, ...]
    environment: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    tty: bool = False
    privileged: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    detach_keys: str = ""
    console_size: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Which lines of a container's output; times in ns (0 = no bound), `tail` None = all."""

    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    since_ns: int = 0
    until_ns: int = 0
    tail: int | None = None
    timestamps: bool = False


@dataclass(frozen=True, slots=True)
class LogLines:
    """Lines of one stream that came together."""

    stream: int  #: 1 = stdout, 2 = stderr
    time_ns: int
    data: bytes  #: each with its "\n", but for a last one that ended without
    begins: bool = True  #: False where it goes on with a line of which a part was given before


@dataclass(frozen=True, slots=True)
class WaitResult:
    status_code: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Sizes:
    read_write: int  #: bytes that the container wrote
    root_fs: int  #: the image's as well


@dataclass(frozen=True, slots=True)
class VolumesPruned:
    names: tuple[str, ...]
    reclaimed: int  #: bytes


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """New limits: what is 0 or "" stays as it is."""

    resources: Resources
    restart_policy: RestartPolicy | None = None


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """An image from a container's changes; `config` is completed by the container's, `changes` are Dockerfile lines.

    `created_ns` 0 is now.
    """

    container: str
    reference: str = ""
    comment: str = ""
    author: str = ""
    changes: tuple[str, ...] = ()
    pause: bool = True
    config: ContainerConfig | None = None
    created_ns: int = 0


@dataclass(frozen=True, slots=True)
class PathStat:
    """A path in a container; `mode` is Go's os.FileMode, `link_target` absolute and resolved as far as it goes."""

    name: str
    size: int
    mode: int
    mtime_ns: int
    link_target: str = ""


@dataclass(frozen=True, slots=True)
class ExtractRequest:
    """Unpack an archive into a container's folder.

    `keep_kinds` refuses to replace a folder by something else and the reverse; `copy_owner` gives everything to the
    container's user.
    """

    container: str
    path: str
    keep_kinds: bool = False
    copy_owner: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A path that a container changed; `kind` is docker's number: 0 = modified, 1 = added, 2 = deleted."""

    path: str
    kind: int


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run's exchange ended. `exit_code` is None where the client detached or had asked to."""

    container_id: str
    exit_code: int | None
    detached: bool = False
