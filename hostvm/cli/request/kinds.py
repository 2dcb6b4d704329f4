"""The kinds of values that only `run`, `create` and a few others have."""

from guest_agent.wire.sizes import parse_size
from hostvm.cli.request.attachments import parse_attachment
from hostvm.cli.request.mounts import parse_mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_ULIMITS = frozenset((
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
))  # fmt: skip


def parse_mebibytes(text: str) -> int:
    """`4g` -> 4096; a bare number is MiB, as other VM tools have it."""
    return int(text) if text.isascii() and text.isdigit() else parse_size(text) >> 20


def parse_gibibytes(text: str) -> int:
    """`64g` -> 64; a bare number is GiB. A part of one counts as one."""
    return int(text) if text.isascii() and text.isdigit() else -(-parse_size(text) >> 30)


def parse_span(text: str) -> float:
    """`10m` -> seconds; `off` and `0` are 0."""
    from hostvm.cli.times import parse_duration

    seconds = 0.0 if text in ("off", "0") else parse_duration(text)
    if seconds is None or seconds < 0:
        raise ValueError('not a time: write "10m", "1h30m" or "off"')
    return seconds


def parse_interval(text: str) -> int:
    """`1m30s` -> nanoseconds (Go's time.ParseDuration)."""
    from hostvm.cli.times import parse_duration

    seconds = 0.0 if text == "0" else parse_duration(text)
    if seconds is None:
        raise ValueError(f'time: invalid duration "{text}"')
    return round(seconds * 1e9)


def parse_folder(text: str) -> str:
    """A path of the host, made absolute. Whether it is there is asked when it is used."""
    import os

    if not text:
        raise ValueError("the path is empty")
    return os.path.abspath(os.path.expanduser(text))


def parse_swap(text: str) -> int:
    """A size, or -1 for no limit."""
    return -1 if text == "-1" else parse_size(text)


def parse_cpus(text: str) -> int:
    """`1.5` -> billionths of a CPU (opts.ParseCPUs)."""
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).isdigit() or not text.isascii():
        raise ValueError(f"failed to parse {text} as a rational number")
    if len(fraction.rstrip("0")) > 9:
        raise ValueError("value is too precise")
    return int(whole or "0") * 10**9 + int(fraction.ljust(9, "0")[:9] or "0")


def parse_environment(text: str) -> str:
    """`NAME=VALUE` or `NAME`; what stands behind NAME is looked up when the request is made."""
    if not text.partition("=")[0]:
        raise ValueError(f"invalid environment variable: {text}")
    return text


def parse_label(text: str) -> str:
    """`KEY=VALUE` or `KEY`."""
    if not text.partition("=")[0]:
        raise ValueError(f"invalid label '{text}': empty name")
    return text


def is_address(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address."""
    from _socket import AF_INET, AF_INET6, inet_pton

    try:
        inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except OSError:
        return False
    return True


def parse_address(text: str) -> str:
    text = text.strip()
    if not is_address(text):
        raise ValueError(f"IP address is not correctly formatted: {text}")
    return text


def parse_host(text: str) -> str:
    """`name:address` or `name=address` -> `name:address` (opts.ValidateExtraHost); `host-gateway` is an address too."""
    name, found, address = text.partition("=" if "=" in text else ":")
    if not found or not name:
        raise ValueError(f'bad format for add-host: "{text}"')
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if address != "host-gateway" and not is_address(address):
        raise ValueError(f'invalid IP address in add-host: "{address}"')
    return f"{name}:{address}"


def parse_stream(text: str) -> str:
    stream = text.lower()
    if stream not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return stream


def parse_sysctl(text: str) -> tuple[str, str]:
    """`key=value`; only the namespaced ones are allowed (opts.ValidateSysctl)."""
    name, found, value = text.partition("=")
    exact = (
        "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
        "kernel.shmmni", "kernel.shm_rmid_forced",
    )  # fmt: skip
    if not found or not (name in exact or name.startswith(("net.", "fs.mqueue."))):
        raise ValueError(f"sysctl '{text}' is not allowed")
    return name, value


def parse_ulimit(text: str) -> dict[str, object]:
    """`nofile=1024:2048` (units.ParseUlimit)."""
    name, found, limits = text.partition("=")
    if not found:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in _ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    parts = limits.split(":")
    if len(parts) > 2:
        raise ValueError(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    soft, hard = (_limit(part) for part in (parts[0], parts[-1]))
    if hard != -1 and (soft == -1 or soft > hard):
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return {"Name": name, "Hard": hard, "Soft": soft}


def _limit(text: str) -> int:
    from hostvm.cli.kinds import parse_int

    return parse_int(text)


def parse_pairs(text: str) -> dict[str, str]:
    """`a=1,b=2` (pflag's stringToString): CSV, but where there is one "=" all the text is one pair."""
    from hostvm.cli.request.csv import split_csv

    if "=" not in text:
        raise ValueError(f"{text} must be formatted as key=value")
    pairs = {}
    for pair in [text.strip('"')] if text.count("=") == 1 else split_csv(text):
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{pair} must be formatted as key=value")
        pairs[key] = value
    return pairs


KINDS: "dict[str, Callable[[str], object]]" = {
    "size": parse_size,
    "swap": parse_swap,
    "mebibytes": parse_mebibytes,
    "gibibytes": parse_gibibytes,
    "duration": parse_span,
    "interval": parse_interval,
    "folder": parse_folder,
    "cpus": parse_cpus,
    "env": parse_environment,
    "label": parse_label,
    "pairs": parse_pairs,
    "address": parse_address,
    "host": parse_host,
    "stream": parse_stream,
    "sysctl": parse_sysctl,
    "ulimit": parse_ulimit,
    "mount": parse_mount,
    "network": parse_attachment,
}
