"""The connection to a syslog server, over whichever of its transports; made again when it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Mapping

from guest_agent.logs.messages import Message
from guest_agent.logs.syslog import Server, Style, Transport, local_now, parse_server, parse_style, render
from guest_agent.wire.errors import HostFailed

#: Where a local syslog listens, in the order in which they are tried (srslog, srslog_unix.go).
LOCAL_SOCKETS = ("/dev/log", "/var/run/syslog", "/var/run/log")

#: Seconds for a server to accept.
_CONNECT_TIMEOUT = 10.0


class _Datagrams:
    """A connected socket on which a message is a datagram."""

    def __init__(self, family: int, address: str | tuple[object, ...]) -> None:
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    def close(self) -> None:
        self._socket.close()


class _Stream:
    """A connection on which messages follow each other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """A server says nothing but that it goes: what was written after that would be lost in silence."""
        if self.reader.at_eof():
            raise ConnectionResetError("the server has closed the connection")
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()


class Syslog:
    """A `Destination`."""

    def __init__(self, server: Server, style: Style, tls: ssl.SSLContext | None) -> None:
        self._server = server
        self._style = style
        self._tls = tls
        self._connection: _Datagrams | _Stream | None = None

    async def connect(self) -> None:
        """Raises HostFailed, in dockerd's words, where there is no such server."""
        try:
            await self._connected()
        except OSError as error:
            raise HostFailed(_failure(self._server, error)) from error

    async def _connected(self) -> _Datagrams | _Stream:
        if self._connection is None:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                self._connection = await _open_connection(self._server, self._tls)
        return self._connection

    async def send(self, message: Message) -> None:
        """A connection that has broken is made again once."""
        data = render(self._style, message, local_now())
        try:
            await (await self._connected()).send(data)
        except OSError:
            self.close()
            await (await self._connected()).send(data)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def make_syslog(options: Mapping[str, str], tag: str) -> Syslog:
    """Connected at the first message, or by `connect`. Raises InvalidArgument, HostFailed (a certificate's file)."""
    server = parse_server(options.get("syslog-address", ""))
    try:
        tls = _tls_context(options) if server.transport is Transport.TLS else None
    except OSError as error:
        raise HostFailed(_failure(server, error)) from error
    return Syslog(server, parse_style(options, tag), tls)


def _failure(server: Server, error: OSError) -> str:
    if server.transport is Transport.LOCAL:
        return "Unix syslog delivery error"
    network = "tcp" if server.transport is Transport.TLS else server.transport
    if isinstance(error, socket.gaierror):
        return f"dial {network}: lookup {server.host}: no such host"
    if isinstance(error, TimeoutError):
        return f"dial {network} {server}: i/o timeout"
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    return f"dial {network} {server}: connect: {reason}"


async def _open_connection(server: Server, tls: ssl.SSLContext | None) -> _Datagrams | _Stream:
    match server.transport:
        case Transport.LOCAL:
            return await _open_local()
        case Transport.STREAM:
            return _Stream(*await asyncio.open_unix_connection(server.path))
        case Transport.DATAGRAM:
            return _Datagrams(socket.AF_UNIX, server.path)
        case Transport.UDP:
            family, _kind, _number, _name, address = (await _resolve(server))[0]
            return _Datagrams(family, address)
        case Transport.TCP | Transport.TLS:
            return _Stream(*await asyncio.open_connection(server.host, server.port, ssl=tls))


async def _open_local() -> _Datagrams | _Stream:
    for transport in (Transport.DATAGRAM, Transport.STREAM):
        for path in LOCAL_SOCKETS:
            with contextlib.suppress(OSError):
                return await _open_connection(Server(transport, path=path), None)
    raise FileNotFoundError("no socket of a local syslog")


async def _resolve(
    server: Server,
) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]]:
    loop = asyncio.get_running_loop()
    return list(await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM))


def _tls_context(options: Mapping[str, str]) -> ssl.SSLContext:
    """Raises OSError for a file that can't be read. The option to skip verification counts whatever it says."""
    context = ssl.create_default_context(cafile=options.get("syslog-tls-ca-cert") or None)
    if "syslog-tls-skip-verify" in options:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.get("syslog-tls-cert"):
        context.load_cert_chain(options["syslog-tls-cert"], options.get("syslog-tls-key"))
    return context
