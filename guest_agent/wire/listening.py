"""Sockets that hold a port, opened alike by the engine on its own host and by the host side of a machine.

A port of every address is one socket for IPv4 and IPv6 alike. Holding is listening: whoever comes before there is
somebody to answer waits in the backlog. Runs on Linux and macOS.
"""

from __future__ import annotations

import errno
import socket
import sys

ANY_IPV4, ANY_IPV6 = "0.0.0.0", "::"
#: net.core.somaxconn's default since Linux 5.4: the kernel cuts it down where that is smaller (macOS: 128).
BACKLOG = 4096
#: linux/in.h; the socket module of Python 3.11 has no name for it.
LINUX_IP_PKTINFO = 8
#: On Linux SO_REUSEADDR only lets a listener follow one whose connections are in TIME_WAIT. On BSD it also lets a
#: socket of one address take the connections of another program's socket of every address.
_REUSE_IS_SAFE = sys.platform == "linux"
_PROBE_SECONDS = 0.2


class PortRefused(Exception):
    """The kernel refused to hold a port: its errno, and the address that it refused."""

    def __init__(self, errno: int, address: str) -> None:
        super().__init__(errno, address)
        self.errno = errno
        self.address = address


def hold_port(host_ip: str, udp: bool, port: int) -> socket.socket:
    """A bound, non-blocking socket, listening if it is TCP. "" is tried for both families in one socket, and for IPv4
    alone where the host has no IPv6; port 0 lets the kernel choose. Raises PortRefused."""
    try:
        return _open(host_ip, udp, port)
    except OSError as failure:
        raise PortRefused(failure.errno or errno.EIO, host_ip or _refusing_any(udp, port)) from failure


def _open(host_ip: str, udp: bool, port: int) -> socket.socket:
    if host_ip:
        return _open_one(socket.AF_INET6 if ":" in host_ip else socket.AF_INET, host_ip, udp, port, only_v6=True)
    try:
        return _open_one(socket.AF_INET6, ANY_IPV6, udp, port, only_v6=False)
    except OSError as failure:
        if failure.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return _open_one(socket.AF_INET, ANY_IPV4, udp, port, only_v6=False)


def _open_one(family: int, address: str, udp: bool, port: int, *, only_v6: bool) -> socket.socket:
    one = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only_v6))
        if not udp:  # past connections in TIME_WAIT are no reason to refuse
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(_REUSE_IS_SAFE or not _is_answered(port)))
        one.bind((address, port))
        if not udp:
            one.listen(BACKLOG)
    except BaseException:
        one.close()
        raise
    return one


def _is_answered(port: int) -> bool:
    """Does anybody listen there, on whichever of this host's own addresses?"""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.settimeout(_PROBE_SECONDS)
                if port and probe.connect_ex((address, port)) == 0:
                    return True
        except OSError:
            continue  # a host without that family
    return False


def _refusing_any(udp: bool, port: int) -> str:
    """Which of the two families refused, for a socket of every address."""
    try:
        _open_one(socket.AF_INET, ANY_IPV4, udp, port, only_v6=False).close()
    except OSError:
        return ANY_IPV4
    return ANY_IPV6


def ask_for_destination(listener: socket.socket) -> tuple[int, int] | None:
    """Has the kernel say with each datagram which address it was sent to: level and type of that message.

    The very payload that came (in_pktinfo, in6_pktinfo) sets the source when it is given back with an answer. On an
    IPv6 socket of Linux IPv4 clients are covered as well, with mapped addresses. None where that can't be had.
    """
    if sys.platform != "linux":
        return None
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO
    listener.setsockopt(socket.IPPROTO_IP, LINUX_IP_PKTINFO, 1)
    return socket.IPPROTO_IP, LINUX_IP_PKTINFO
