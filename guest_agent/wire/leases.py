"""The lines of a *lease*: how the engine inside a machine has a port held on the machine's host.

A lease is one stream and lives exactly as long as it. The engine asks `bind`, then `serve`, at last `release`; each is
one line of JSON with a number, and its answer is one line with the same number, so that a successor of a killed engine
can't take an answer for its own that was meant for its predecessor. Repeating `serve` is harmless.

The engine's side is not trusted by the host's: `parse_request` checks every field. Pure.
"""

from __future__ import annotations

import errno
import json
import string
from dataclasses import dataclass, field
from ipaddress import ip_address

from guest_agent.wire.errors import HostvmError, PeerMisbehaved, error_of_record, error_record
from guest_agent.wire.models import Protocol

SERVICE = "ports"
#: A container id has 64 characters; the longest honest line has about 250.
LONGEST_LINE = 1024
_LONGEST_NAME = 128
_MOST_PORTS = 65536
_LARGEST_NUMBER = 1 << 53
_NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "_.-")


@dataclass(frozen=True, slots=True)
class Bind:
    """Hold the first free port from `port` to `port_end` (0 = exactly `port`); `host_ip` "" is every address."""

    protocol: Protocol
    host_ip: str
    port: int
    port_end: int
    container: str


@dataclass(frozen=True, slots=True)
class Serve:
    """Lead what comes to that address inside the machine from here on.

    Who comes by IPv6 is led to `address6` where somebody listens there; "" = there is none.
    """

    address: str
    port: int
    address6: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """The port is free when this is answered."""


Request = Bind | Serve | Release


@dataclass(frozen=True, slots=True)
class Bound:
    """What is held; `host_ip` may be narrower than what was asked for, by the user's rules."""

    host_port: int
    host_ip: str = ""
    any_ipv6: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The host's kernel refused: errno, the address and port that it refused, and what the user can do there."""

    errno: int
    address: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """Of `serve` and `release`."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Anything else: an error of the border."""

    error: HostvmError = field(compare=False)


Answer = Bound | Refused | Done | Failed


def format_request(number: int, request: Request) -> bytes:
    return _line({"id": number, **_describe(request)})


def parse_request(line: bytes) -> tuple[int, Request]:
    """Raises PeerMisbehaved with what is wrong; nothing in it is believed before it was looked at."""
    fields = _object(line)
    number = _number(fields, "id", 1, _LARGEST_NUMBER)
    match fields.get("op"):
        case "bind":
            return number, _parse_bind(fields)
        case "serve":
            address6 = _address(fields, "address6") if "address6" in fields else ""
            return number, Serve(_address(fields, "address"), _number(fields, "port", 1, _MOST_PORTS - 1), address6)
        case "release":
            return number, Release()
    raise PeerMisbehaved("a lease knows bind, serve and release")


def format_answer(number: int, answer: Answer) -> bytes:
    return _line({"id": number, **_describe_answer(answer)})


def parse_answer(line: bytes) -> tuple[int, Answer]:
    """The agent's own refusal of the stream has number 0. Raises PeerMisbehaved."""
    fields = _object(line)
    number = _number(fields, "id", 1, _LARGEST_NUMBER) if "id" in fields else 0
    if "error" in fields:
        return number, Failed(error_of_record(fields["error"]))
    if "errno" in fields:
        code = getattr(errno, _text(fields, "errno"), errno.EIO)
        return number, Refused(int(code), _text(fields, "address"), _text(fields, "hint"))
    if "host_port" in fields:
        port = _number(fields, "host_port", 1, _MOST_PORTS - 1)
        return number, Bound(port, _text(fields, "host_ip"), fields.get("any_ipv6") is True)
    return number, Done()


def _describe(request: Request) -> dict[str, object]:
    match request:
        case Bind(protocol, host_ip, port, port_end, container):
            return {
                "op": "bind",
                "protocol": str(protocol),
                "host_ip": host_ip,
                "port": port,
                "port_end": port_end,
                "container": container,
            }
        case Serve(address, port, address6):
            return {"op": "serve", "address": address, "port": port, **({"address6": address6} if address6 else {})}
        case Release():
            return {"op": "release"}


def _describe_answer(answer: Answer) -> dict[str, object]:
    match answer:
        case Bound(host_port, host_ip, any_ipv6):
            return {"host_port": host_port, "host_ip": host_ip, "any_ipv6": any_ipv6}
        case Refused(code, address, hint):
            return {"errno": errno.errorcode.get(code, "EIO"), "address": address, "hint": hint}
        case Failed(error):
            return {"error": error_record(error)}
        case Done():
            return {}


def _parse_bind(fields: dict[str, object]) -> Bind:
    port = _number(fields, "port", 0, _MOST_PORTS - 1)
    port_end = _number(fields, "port_end", 0, _MOST_PORTS - 1)
    if port_end and (port_end < port or not port):
        raise PeerMisbehaved("the range of ports is empty")
    host_ip = _address(fields, "host_ip") if fields.get("host_ip") != "" else ""
    return Bind(_protocol(fields), host_ip, port, port_end, _name(fields, "container"))


def _line(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def _object(line: bytes) -> dict[str, object]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise PeerMisbehaved("a line of a lease must be JSON") from None
    if not isinstance(fields, dict):
        raise PeerMisbehaved("a line of a lease must be an object")
    return fields


def _number(fields: dict[str, object], name: str, least: int, most: int) -> int:
    value = fields.get(name)
    if type(value) is not int or not least <= value <= most:
        raise PeerMisbehaved(f"{name} must be a number from {least} to {most}")
    return value


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise PeerMisbehaved(f"{name} must be a string")
    return value


def _protocol(fields: dict[str, object]) -> Protocol:
    try:
        return Protocol(_text(fields, "protocol"))
    except ValueError:
        raise PeerMisbehaved("protocol must be tcp or udp") from None


def _address(fields: dict[str, object], name: str) -> str:
    """Numeric, and without a zone, whose text would go to the host's name lookup."""
    value = _text(fields, name)
    try:
        if "%" in value:
            raise ValueError
        return str(ip_address(value))
    except ValueError:
        raise PeerMisbehaved(f"{name} must be an IP address") from None


def _name(fields: dict[str, object], name: str) -> str:
    value = _text(fields, name)
    if not 0 < len(value) <= _LONGEST_NAME or not _NAME_CHARACTERS.issuperset(value):
        raise PeerMisbehaved(f"{name} must be an id")
    return value
