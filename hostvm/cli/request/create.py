"""The flags of `run` and `create` -> the body of `POST /containers/create`.

What wasn't asked for is left out: the engine's defaults are Docker's zero values. Each function is one group of flags
and contributes to the body; a test holds the result against what docker's own CLI sends.
"""

from hostvm.cli.arguments import Arguments
from hostvm.cli.request.attachments import plan_endpoints
from hostvm.cli.request.environment import as_map, environment, labels
from hostvm.cli.request.mounts import parse_volume
from hostvm.cli.request.ports import PortPlan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from hostvm.cli.request.environment import Lookup

    Body = dict[str, object]

#: Flag -> key of Config, where the value goes as it is.
_CONFIG = (
    ("hostname", "Hostname"), ("domainname", "Domainname"), ("user", "User"), ("workdir", "WorkingDir"),
    ("stop-signal", "StopSignal"),
)  # fmt: skip

#: Flag -> key of HostConfig, where the value goes as it is.
_HOST_CONFIG = (
    ("memory", "Memory"), ("memory-swap", "MemorySwap"), ("memory-reservation", "MemoryReservation"),
    ("cpus", "NanoCpus"), ("cpu-shares", "CpuShares"), ("cpu-period", "CpuPeriod"), ("cpu-quota", "CpuQuota"),
    ("cpuset-cpus", "CpusetCpus"), ("cpuset-mems", "CpusetMems"), ("pids-limit", "PidsLimit"),
    ("blkio-weight", "BlkioWeight"), ("ulimit", "Ulimits"), ("oom-kill-disable", "OomKillDisable"),
    ("oom-score-adj", "OomScoreAdj"), ("privileged", "Privileged"),
    ("read-only", "ReadonlyRootfs"), ("shm-size", "ShmSize"), ("rm", "AutoRemove"), ("ipc", "IpcMode"),
    ("pid", "PidMode"), ("uts", "UTSMode"), ("userns", "UsernsMode"), ("cgroupns", "CgroupnsMode"),
    ("add-host", "ExtraHosts"), ("dns", "Dns"), ("dns-search", "DnsSearch"), ("group-add", "GroupAdd"),
    ("publish-all", "PublishAllPorts"), ("mount", "Mounts"), ("link", "Links"), ("cgroup-parent", "CgroupParent"),
    ("runtime", "Runtime"), ("volume-driver", "VolumeDriver"), ("cidfile", "ContainerIDFile"),
    ("volumes-from", "VolumesFrom"), ("cpu-rt-period", "CpuRealtimePeriod"), ("isolation", "Isolation"),
    ("cpu-rt-runtime", "CpuRealtimeRuntime"),
)  # fmt: skip


#: Flags whose values `request/guard.py` works out.
_GUARDED = (
    "security-opt", "device", "device-cgroup-rule", "gpus", "blkio-weight-device", "device-read-bps",
    "device-write-bps", "device-read-iops", "device-write-iops", "storage-opt", "annotation",
)  # fmt: skip

#: Flag, what docker calls it, and its values; a pid namespace can be another container's, too.
_MODES = (
    ("pid", "PID", ("", "host")), ("uts", "UTS", ("", "host")), ("userns", "USER", ("", "host")),
    ("cgroupns", "CGROUP", ("", "host", "private")),
)  # fmt: skip


HEALTH_FLAGS = (
    "health-cmd", "health-interval", "health-timeout", "health-retries", "health-start-period", "health-start-interval",
)  # fmt: skip


def plan_create(arguments: Arguments, lookup: "Lookup", absolute: "Callable[[str], str]") -> "Body":
    """The body. `lookup` finds a variable of the user's environment, `absolute` makes a path absolute.

    Raises ValueError with docker's message.
    """
    _refuse_contradictions(arguments)
    image, *command = arguments.positional
    body: Body = {"Image": image, "Cmd": command or None}
    host: Body = {}
    _copy(arguments, _CONFIG, body)
    _copy(arguments, _HOST_CONFIG, host)
    _add_process(arguments, body, lookup)
    _add_streams(arguments, body)
    _add_ports(arguments, body, host)
    _add_storage(arguments, body, host, absolute)
    _add_network(arguments, body, host)
    _add_guard(arguments, host)
    _add_life_cycle(arguments, body, host)
    body["HostConfig"] = host
    return body


def _copy(arguments: Arguments, names: tuple[tuple[str, str], ...], target: "Body") -> None:
    for flag, key in names:
        if arguments.given(flag):
            target[key] = arguments.value(flag)


def _refuse_contradictions(arguments: Arguments) -> None:
    if arguments.flag("rm") and arguments.text("restart") not in ("", "no"):
        raise ValueError("conflicting options: cannot specify both --restart and --rm")
    pull = arguments.text("pull")
    if pull not in ("always", "missing", "never", ""):
        raise ValueError(f'invalid pull option: \'{pull}\': must be one of "always", "missing" or "never"')
    if not -1 <= arguments.number("memory-swappiness") <= 100:
        raise ValueError(
            f"invalid value: {arguments.number('memory-swappiness')}. Valid memory swappiness range is 0-100"
        )


def _add_process(arguments: Arguments, body: "Body", lookup: "Lookup") -> None:
    if arguments.given("entrypoint"):
        # An empty one clears the image's: the API wants [""] for that.
        body["Entrypoint"] = [arguments.text("entrypoint")]
    body["Env"] = environment(arguments.texts("env"), arguments.texts("env-file"), lookup) or None
    body["Labels"] = labels(arguments.texts("label"), arguments.texts("label-file"))


def _add_streams(arguments: Arguments, body: "Body") -> None:
    streams = attached_streams(arguments)
    interactive = arguments.flag("interactive")
    body["Tty"] = arguments.flag("tty")
    body["OpenStdin"] = interactive
    body["StdinOnce"] = interactive and "stdin" in streams
    for name in ("stdin", "stdout", "stderr"):
        body[f"Attach{name.capitalize()}"] = name in streams


def attached_streams(arguments: Arguments) -> list[str]:
    """The streams that the client wants: those of -a, else output, and input with -i; none with -d."""
    if _is_detached(arguments):
        return []
    chosen = arguments.texts("attach")
    if not chosen:
        chosen = ["stdout", "stderr"]
        if arguments.flag("interactive"):
            chosen.append("stdin")
    return chosen


def _is_detached(arguments: Arguments) -> bool:
    return any(flag.name == "detach" for flag in arguments.command.flags) and arguments.flag("detach")


def _add_ports(arguments: Arguments, body: "Body", host: "Body") -> None:
    plan = PortPlan()
    for text in arguments.texts("publish"):
        plan.publish(text)
    for text in arguments.texts("expose"):
        plan.expose(text)
    if plan.exposed:
        body["ExposedPorts"] = plan.exposed
    if plan.bindings:
        host["PortBindings"] = plan.bindings


def _add_storage(arguments: Arguments, body: "Body", host: "Body", absolute: "Callable[[str], str]") -> None:
    parsed = [parse_volume(text, absolute) for text in arguments.texts("volume")]
    binds = [bind for bind, _ in parsed if bind]
    if binds:
        host["Binds"] = binds
    anonymous = {target: {} for _, target in parsed if target}  # type: ignore[var-annotated]
    if anonymous:
        body["Volumes"] = anonymous
    if arguments.many("tmpfs"):
        host["Tmpfs"] = {path: options for path, _, options in (t.partition(":") for t in arguments.texts("tmpfs"))}


def _add_network(arguments: Arguments, body: "Body", host: "Body") -> None:
    host["NetworkMode"], endpoints = plan_endpoints(arguments)
    options = arguments.texts("dns-option") + arguments.texts("dns-opt")
    if options:
        host["DnsOptions"] = options
    if endpoints:
        body["NetworkingConfig"] = {"EndpointsConfig": endpoints}


def parse_capabilities(names: list[str]) -> list[str]:
    """`net_admin` -> `CAP_NET_ADMIN`, each once, in order (opts.NormalizeCapability)."""
    upper = (name.strip().upper() for name in names)
    return sorted({name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}" for name in upper})


def _add_guard(arguments: Arguments, host: "Body") -> None:
    for flag, key in (("cap-add", "CapAdd"), ("cap-drop", "CapDrop")):
        if arguments.given(flag):
            host[key] = parse_capabilities(arguments.texts(flag))
    if any(arguments.given(flag) for flag in _GUARDED):
        from hostvm.cli.request.guard import add_guarded

        add_guarded(arguments, host)
    _check_modes(arguments)
    if arguments.many("sysctl"):
        pairs = [pair for pair in arguments.many("sysctl") if isinstance(pair, tuple)]
        host["Sysctls"] = dict(pairs)
    if arguments.given("memory-swappiness") and arguments.number("memory-swappiness") >= 0:
        host["MemorySwappiness"] = arguments.number("memory-swappiness")


def _check_modes(arguments: Arguments) -> None:
    for flag, name, modes in _MODES:
        mode = arguments.text(flag)
        joins = flag == "pid" and mode.startswith("container:") and mode != "container:"
        if mode not in modes and not joins:
            raise ValueError(f"--{flag}: invalid {name} mode")


def _add_life_cycle(arguments: Arguments, body: "Body", host: "Body") -> None:
    if arguments.given("restart"):
        host["RestartPolicy"] = parse_restart(arguments.text("restart"))
    if arguments.flag("init"):
        host["Init"] = True
    if any(arguments.given(flag) for flag in ("no-healthcheck", *HEALTH_FLAGS)):
        from hostvm.cli.request.health import plan_healthcheck

        body["Healthcheck"] = plan_healthcheck(arguments)
    if arguments.given("stop-timeout"):
        body["StopTimeout"] = arguments.number("stop-timeout")
    if arguments.given("log-driver") or arguments.given("log-opt"):
        host["LogConfig"] = {"Type": arguments.text("log-driver"), "Config": as_map(arguments.texts("log-opt"))}


def parse_restart(text: str) -> dict[str, object]:
    """`on-failure:3` (opts.ParseRestartPolicy). Which names there are is the engine's to say."""
    name, found, count = text.partition(":")
    if found and not count.lstrip("+-").isdigit():
        raise ValueError("invalid restart policy format: maximum retry count must be an integer")
    if found and not name:
        raise ValueError("invalid restart policy format: no policy provided before colon")
    return {"Name": name, "MaximumRetryCount": int(count) if count else 0}
