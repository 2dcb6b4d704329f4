"""The flags of `build` -> the query of `POST /build`. Pure but for the variables that are passed on."""

from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure
from hostvm.cli.query import escape, with_query
from hostvm.client.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: Flag -> parameter, where the value goes as it is.
_PLAIN = (
    ("target", "target"), ("platform", "platform"), ("quiet", "q"), ("no-cache", "nocache"), ("pull", "pull"),
    ("memory", "memory"), ("memory-swap", "memswap"), ("shm-size", "shmsize"), ("cpu-shares", "cpushares"),
    ("cpu-period", "cpuperiod"), ("cpu-quota", "cpuquota"), ("cpuset-cpus", "cpusetcpus"),
    ("cpuset-mems", "cpusetmems"), ("squash", "squash"), ("cgroup-parent", "cgroupparent"), ("isolation", "isolation"),
    ("rm", "rm"), ("force-rm", "forcerm"),
)  # fmt: skip


def plan_path(arguments: Arguments, lookup: "Callable[[str], str | None]", further: "dict[str, object]") -> str:
    """The request's target. `lookup` finds a variable of the user's environment; `further` is what the body needs."""
    values: dict[str, object] = {parameter: _nothing_as_none(arguments.value(flag)) for flag, parameter in _PLAIN}
    network = arguments.text("network")
    path = with_query(
        "/build",
        **values,
        networkmode="" if network == "default" else network,
        buildargs=_json(_assignments(arguments.texts("build-arg"), lookup)),
        labels=_json({name: value for name, _, value in (one.partition("=") for one in arguments.texts("label"))}),
        cachefrom=_json(_split(arguments.texts("cache-from"))),
        ulimits=_json(arguments.many("ulimit")),
        **{"hostvm-workdir": True},  # is the USER's, as with docker's own command line since 23
        **further,
    )
    pairs = [("t", tag) for tag in (*arguments.texts("tag"), *_output_names(arguments.text("output")))]
    pairs += [("extrahosts", host) for host in arguments.texts("add-host")]
    pairs += [("securityopt", option) for option in arguments.texts("security-opt")]
    extra = "&".join(f"{name}={escape(value)}" for name, value in pairs)
    return path + ("&" if "?" in path else "?") + extra if extra else path


def _nothing_as_none(value: object) -> object:
    return None if value in (0, "") else value


def _json(value: "dict[str, object] | list[object] | dict[str, str | None] | dict[str, str] | list[str]") -> str:
    return dumps(value) if value else ""


def _assignments(words: "list[str]", lookup: "Callable[[str], str | None]") -> "dict[str, str | None]":
    """`NAME=VALUE`; of `NAME` alone the user's own value, null without one."""
    return {name: value if equals else lookup(name) for name, equals, value in (word.partition("=") for word in words)}


def _split(words: "list[str]") -> "list[str]":
    """`--cache-from a,b`; `type=registry,ref=a` is BuildKit's way to say the same."""
    names = []
    for word in words:
        if word.startswith("type="):
            names += [part.removeprefix("ref=") for part in word.split(",") if part.startswith("ref=")]
        else:
            names += [name for name in word.split(",") if name]
    return names


def _output_names(text: str) -> "list[str]":
    """`-o type=image,name=NAME` says what the image is called."""
    fields = parse_fields(text, "--output") if "=" in text else {}
    name = fields.get("name", "") if fields.get("type") in ("image", "docker") else ""
    return [name] if name else []


def parse_fields(text: str, what: str) -> "dict[str, str]":
    """`a=b,c=d` of --secret and --output. Raises Failure."""
    fields = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            raise Failure(f"invalid field '{part}' must be a key=value pair: {what} {text}", 125)
        fields[name.strip().lower()] = value
    return fields
