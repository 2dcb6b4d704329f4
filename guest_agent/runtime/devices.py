"""Device nodes: --device, --privileged, and the rules of the devices controller."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.resources import Device, DeviceRequest

Json = dict[str, object]

#: Folders of /dev that a privileged container has its own of, or that hold no devices (moby, runc's devices package).
_PRIVATE_FOLDERS = frozenset(("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"))
#: docker's rules: nothing but these; major, minor. mknod of anything is allowed by the runtimes themselves.
_RULE = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})")
_ALLOWED = ((1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1))


@dataclass(frozen=True, slots=True)
class DeviceNode:
    path: str  #: in the container
    type: str  #: "c" or "b"
    major: int
    minor: int
    mode: int
    uid: int
    gid: int
    permissions: str = "rwm"


def find_devices(wanted: Sequence[Device]) -> tuple[DeviceNode, ...]:
    """Look --device up on the host; a folder brings all that is in it. InvalidArgument where there is none."""
    found: list[DeviceNode] = []
    for device in wanted:
        _check_permissions(device)
        target = device.container_path or device.host_path
        if os.path.isdir(device.host_path):
            found.extend(_require_nodes(device, target))
        else:
            found.append(_require_node(device, target))
    return tuple(found)


def list_host_devices() -> tuple[DeviceNode, ...]:
    """Everything in /dev that --privileged shows."""
    return tuple(_nodes_below("/dev", "/dev", "rwm"))


def _check_permissions(device: Device) -> None:
    permissions = device.permissions
    if not permissions or not set(permissions) <= set("rwm") or len(set(permissions)) != len(permissions):
        raise InvalidArgument(f"invalid device mode: {permissions}", "a device's mode is made of r, w and m")


def _require_nodes(device: Device, target: str) -> Sequence[DeviceNode]:
    nodes = list(_nodes_below(os.path.realpath(device.host_path), target, device.permissions))
    if not nodes:
        raise _no_device(device)
    return nodes


def _require_node(device: Device, target: str) -> DeviceNode:
    node = _find_node(device.host_path, target, device.permissions)
    if node is None:
        raise _no_device(device)
    return node


def _no_device(device: Device) -> InvalidArgument:
    reason = "not a device node" if os.path.exists(device.host_path) else "no such file or directory"
    return InvalidArgument(
        f'error gathering device information while adding custom device "{device.host_path}": {reason}'
    )


def _nodes_below(folder: str, target: str, permissions: str) -> Iterator[DeviceNode]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _PRIVATE_FOLDERS]
        for name in files:
            inside = os.path.join(target, os.path.relpath(os.path.join(place, name), folder))
            node = (
                None if name == "console" else _find_node(os.path.join(place, name), inside, permissions, links=False)
            )
            if node:
                yield node


def _find_node(path: str, target: str, permissions: str, *, links: bool = True) -> DeviceNode | None:
    try:
        status = os.stat(path, follow_symlinks=links)
    except OSError:
        return None
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b" if stat.S_ISBLK(status.st_mode) else ""
    if not kind:
        return None
    number = status.st_rdev
    mode = stat.S_IMODE(status.st_mode)
    return DeviceNode(target, kind, os.major(number), os.minor(number), mode, status.st_uid, status.st_gid, permissions)


def plan_device(node: DeviceNode) -> Json:
    """`linux.devices[]`"""
    return {
        "path": node.path,
        "type": node.type,
        "major": node.major,
        "minor": node.minor,
        "fileMode": node.mode,
        "uid": node.uid,
        "gid": node.gid,
    }


def plan_device_rules(privileged: bool, extra: Sequence[DeviceNode], given: Sequence[str] = ()) -> list[Json]:
    """`linux.resources.devices[]`; `given` are --device-cgroup-rule's. Raises InvalidArgument."""
    if privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[Json] = [{"allow": False, "access": "rwm"}]
    rules += [_rule("c", major, minor, "rwm") for major, minor in _ALLOWED]
    rules += [_rule(node.type, node.major, node.minor, node.permissions) for node in extra]
    return rules + [_parse_rule(text) for text in given]


def _parse_rule(text: str) -> Json:
    """ "c 42:* rmw"; a number that isn't named is every one."""
    match = _RULE.fullmatch(text)
    if match is None:
        raise InvalidArgument(f"invalid device cgroup rule format: '{text}'")
    kind, major, minor, access = match.groups()
    numbers = {name: int(value) for name, value in (("major", major), ("minor", minor)) if value != "*"}
    return {"allow": True, "type": kind, **numbers, "access": access}


def refuse_device_requests(requests: Sequence[DeviceRequest]) -> None:
    """--gpus: there is no driver that could find any."""
    for request in requests:
        wanted = " ".join(f"[{' '.join(group)}]" for group in request.capabilities)
        raise InvalidArgument(f'could not select device driver "{request.driver}" with capabilities: [{wanted}]')


def _rule(kind: str, major: int, minor: int, access: str) -> Json:
    return {"allow": True, "type": kind, "major": major, "minor": minor, "access": access}
