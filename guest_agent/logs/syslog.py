"""What is sent to a syslog server, and where it is: dockerd's options and formats. Pure but for one look at a path."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

from guest_agent.logs.messages import Message
from guest_agent.wire.errors import InvalidArgument

OPTIONS = frozenset(
    {
        "syslog-address",
        "syslog-facility",
        "syslog-format",
        "syslog-tls-ca-cert",
        "syslog-tls-cert",
        "syslog-tls-key",
        "syslog-tls-skip-verify",
    }
)

#: By number (RFC 5424, 6.2.1). 12 to 15 have no name.
_FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("", "", "", ""),
    *(f"local{number}" for number in range(8)),
)
_DAEMON = 3
_ERROR, _INFORMATION = 3, 6
_PORT = 514


class Transport(StrEnum):
    LOCAL = ""  #: whatever socket this system has
    STREAM = "unix"
    DATAGRAM = "unixgram"
    UDP = "udp"
    TCP = "tcp"
    TLS = "tcp+tls"


@dataclass(frozen=True, slots=True)
class Server:
    """A host and a port, or a socket's path."""

    transport: Transport = Transport.LOCAL
    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Style:
    """How a message looks; what it says of its sender."""

    format: str
    facility: int
    tag: str
    counted: bool  #: RFC 5425: the length goes before each message
    hostname: str = ""
    pid: int = 0


def parse_server(address: str) -> Server:
    """Raises InvalidArgument."""
    if not address:
        return Server()
    try:
        parts = urlsplit(address)
        port = parts.port or _PORT
    except ValueError as error:
        raise InvalidArgument(f'parse "{address}": {error}') from None
    if parts.scheme not in list(Transport)[1:]:
        raise InvalidArgument(f"syslog-address should be in form proto://address, got {address}")
    transport = Transport(parts.scheme)
    if transport in (Transport.STREAM, Transport.DATAGRAM):
        if not os.path.exists(parts.path):
            raise InvalidArgument(f"stat {parts.path}: no such file or directory")
        return Server(transport, path=parts.path)
    return Server(transport, host=parts.hostname or "", port=port)


def parse_facility(text: str) -> int:
    """A name or a number. Raises InvalidArgument."""
    if not text:
        return _DAEMON
    if text in _FACILITIES:
        return _FACILITIES.index(text)
    if text.isascii() and text.isdigit() and int(text) < len(_FACILITIES):
        return int(text)
    raise InvalidArgument("invalid syslog facility")


def check_options(options: Mapping[str, str]) -> None:
    """Raises InvalidArgument."""
    parse_server(options.get("syslog-address", ""))
    parse_facility(options.get("syslog-facility", ""))
    if options.get("syslog-format", "") not in _RENDERERS:
        raise InvalidArgument("Invalid syslog format")


def parse_style(options: Mapping[str, str], tag: str) -> Style:
    """Raises InvalidArgument."""
    check_options(options)
    name = options.get("syslog-format", "")
    counted = name.startswith("rfc5424") and options.get("syslog-address", "").startswith(f"{Transport.TLS}:")
    facility = parse_facility(options.get("syslog-facility", ""))
    return Style(name, facility, tag, counted, os.uname().nodename, os.getpid())


def render(style: Style, message: Message, now: datetime) -> bytes:
    """One message as it goes over the wire, a newline at its end."""
    severity = _ERROR if message.is_error else _INFORMATION
    head = _RENDERERS[style.format](style, style.facility << 3 | severity, now)
    text = head.encode() + message.data + b"\n"
    return b"%d %s" % (len(text), text) if style.counted else text


def _unix(style: Style, priority: int, now: datetime) -> str:
    return f"<{priority}>{_bsd_time(now)} {style.tag}[{style.pid}]: "


def _rfc3164(style: Style, priority: int, now: datetime) -> str:
    return f"<{priority}>{_bsd_time(now)} {style.hostname} {style.tag}[{style.pid}]: "


def _rfc5424(style: Style, priority: int, now: datetime) -> str:
    """The tag is the application's name, too: rsyslog makes its %syslogtag% of that."""
    unit = "microseconds" if style.format == "rfc5424micro" else "seconds"
    stamp = now.isoformat(timespec=unit)
    if stamp.endswith("+00:00"):
        stamp = stamp.removesuffix("+00:00") + "Z"
    return f"<{priority}>1 {stamp} {style.hostname} {style.tag} {style.pid} {style.tag} - "


def _bsd_time(now: datetime) -> str:
    """The day is padded by a blank."""
    return f"{_MONTHS[now.month - 1]} {now.day:2} {now:%H:%M:%S}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_RENDERERS = {"": _unix, "rfc3164": _rfc3164, "rfc5424": _rfc5424, "rfc5424micro": _rfc5424}


def local_now() -> datetime:
    """With the host's time zone, as syslog wants it."""
    return datetime.fromtimestamp(time.time()).astimezone()
