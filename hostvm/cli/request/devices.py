"""The values of flags that speak of devices: rates, weights, cgroup rules, GPUs (docker's opts package)."""

from guest_agent.wire.sizes import parse_size
from hostvm.cli.request.csv import split_csv
from hostvm.cli.request.environment import as_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Limit = dict[str, object]

_LEAST_WEIGHT, _MOST_WEIGHT = 10, 1000


def _split(text: str) -> tuple[str, str]:
    """The device's path, and what stands behind the colon."""
    path, found, value = text.partition(":")
    if not found:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, value


def parse_rate(text: str) -> "Limit":
    """`/dev/sda:1mb` -> bytes a second."""
    path, value = _split(text)
    try:
        rate = parse_size(value)
    except ValueError:
        rate = -1
    if rate < 0:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a "
            "positive integer. Unit is optional and can be kb, mb, or gb"
        )
    return {"Path": path, "Rate": rate}


def parse_operations(text: str) -> "Limit":
    """`/dev/sda:50` -> operations a second."""
    path, value = _split(text)
    if not (value.isascii() and value.isdigit()):
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a "
            "positive integer"
        )
    return {"Path": path, "Rate": int(value)}


def parse_weight(text: str) -> "Limit":
    """`/dev/sda:200`."""
    path, value = _split(text)
    if not (value.isascii() and value.isdigit() and (value == "0" or _LEAST_WEIGHT <= int(value) <= _MOST_WEIGHT)):
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": int(value)}


def parse_device_rule(text: str) -> str:
    """`c 42:* rmw`, as the devices controller has it."""
    kind, numbers, access = ([*text.split(" "), "", "", ""])[:3]
    parts = numbers.split(":")
    well = kind in ("a", "b", "c") and len(parts) == 2 and all(part == "*" or part.isdigit() for part in parts)
    if not well or not 1 <= len(access) <= 3 or not set(access) <= set("rwm") or text.count(" ") != 2:
        raise ValueError(f"invalid device cgroup format '{text}'")
    return text


def parse_gpus(text: str) -> "Limit":
    """`all`, `2`, `device=0,driver=nvidia`: one of HostConfig.DeviceRequests (opts.GpuOpts)."""
    request: Limit = {"Options": {}, "Capabilities": [["gpu"]]}
    seen: set[str] = set()
    for field in split_csv(text):
        key, found, value = field.partition("=")
        if key in seen:
            raise ValueError(f"gpu request key '{key}' can be specified only once")
        seen.add(key)
        if not found:
            key, value = "count", key
            seen.add(key)
        _set_gpu_field(request, key, value, field)
    if "count" not in seen and "DeviceIDs" not in request:
        request["Count"] = 1
    return request


def _set_gpu_field(request: "Limit", key: str, value: str, field: str) -> None:
    if key == "driver":
        request["Driver"] = value
    elif key == "count":
        request["Count"] = _parse_count(value)
    elif key == "device":
        request["DeviceIDs"] = value.split(",")
    elif key == "capabilities":
        request["Capabilities"] = [[*value.split(","), "gpu"]]
    elif key == "options":
        request["Options"] = as_map(split_csv(value))
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


def _parse_count(text: str) -> int:
    if text == "all":
        return -1
    if not (text.isascii() and text.lstrip("+-").isdigit()):
        raise ValueError(f'invalid count ({text}): value must be either "all" or an integer: invalid syntax')
    return int(text)


KINDS: "dict[str, Callable[[str], object]]" = {
    "rate": parse_rate,
    "operations": parse_operations,
    "weight": parse_weight,
    "device-rule": parse_device_rule,
    "gpus": parse_gpus,
}
