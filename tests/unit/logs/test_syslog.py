"""Syslog's options, formats and transports."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from guest_agent.logs import syslog_client
from guest_agent.logs.messages import Message
from guest_agent.logs.syslog import Server, Transport, check_options, parse_facility, parse_server, parse_style, render
from guest_agent.logs.syslog_client import make_syslog
from guest_agent.wire.errors import HostFailed, InvalidArgument

NOW = datetime(2024, 2, 3, 4, 5, 6, 789, UTC)


def rendered(message: Message, now: datetime = NOW, **options: str) -> bytes:
    named = {f"syslog-{name}": text for name, text in options.items()}
    style = dataclasses.replace(parse_style(named, "web"), hostname="host", pid=7)
    return render(style, message, now)


def test_formats() -> None:
    hello, oops = Message(False, 0, b"hello"), Message(True, 0, b"oops")
    assert rendered(hello) == b"<30>Feb  3 04:05:06 web[7]: hello\n"
    assert rendered(oops, facility="local7") == b"<187>Feb  3 04:05:06 web[7]: oops\n"
    assert rendered(hello, format="rfc3164") == b"<30>Feb  3 04:05:06 host web[7]: hello\n"
    assert rendered(hello, format="rfc5424") == b"<30>1 2024-02-03T04:05:06Z host web 7 web - hello\n"
    micro = b"<30>1 2024-02-03T06:05:06.000789+02:00 host web 7 web - hello\n"
    assert rendered(hello, NOW.astimezone(timezone(timedelta(hours=2))), format="rfc5424micro") == micro
    counted = rendered(hello, format="rfc5424", address="tcp+tls://host")
    assert counted == b"50 <30>1 2024-02-03T04:05:06Z host web 7 web - hello\n"
    assert rendered(hello, format="rfc3164", address="tcp+tls://host") == rendered(hello, format="rfc3164")


def test_addresses(tmp_path: Path) -> None:
    assert parse_server("") == Server()
    assert parse_server("udp://log.example") == Server(Transport.UDP, host="log.example", port=514)
    assert parse_server("tcp://[::1]:1514") == Server(Transport.TCP, host="::1", port=1514)
    assert parse_server(f"unix://{tmp_path}") == Server(Transport.STREAM, path=str(tmp_path))
    for wrong in ("log.example:514", "http://log.example", "tcp://host:port", "unix:///no/such/socket"):
        with pytest.raises(InvalidArgument):
            parse_server(wrong)


def test_facilities() -> None:
    assert [parse_facility(text) for text in ("", "user", "local0", "23")] == [3, 1, 16, 23]
    for wrong in ("24", "-1", "papyrus", "٣"):
        with pytest.raises(InvalidArgument, match="invalid syslog facility"):
            parse_facility(wrong)


def test_options() -> None:
    with pytest.raises(InvalidArgument, match="Invalid syslog format"):
        check_options({"syslog-format": "rfc1"})
    check_options({"syslog-address": "tcp+tls://host:1", "syslog-format": "rfc5424micro", "syslog-facility": "kern"})


def test_datagrams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "log")
    local = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    local.bind(path)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    monkeypatch.setattr(syslog_client, "LOCAL_SOCKETS", (str(tmp_path / "none"), path))
    for address in ("", f"unixgram://{path}", f"udp://127.0.0.1:{udp.getsockname()[1]}"):
        asyncio.run(_send_one(address))
        received = (udp if address.startswith("udp") else local).recv(1000)
        assert received.startswith(b"<30>") and received.endswith(b": hello\n")
    local.close()
    udp.close()


async def _send_one(address: str) -> None:
    syslog = make_syslog({"syslog-address": address}, "web")
    await syslog.send(Message(False, 0, b"hello"))
    syslog.close()


def test_a_server_that_comes_back_is_connected_again() -> None:
    asyncio.run(_restart_a_server())


async def _restart_a_server() -> None:
    lines: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await lines.put(await reader.readline())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    syslog = make_syslog({"syslog-address": f"tcp://127.0.0.1:{port}"}, "web")
    await syslog.connect()
    for _ in range(2):
        await syslog.send(Message(False, 0, b"hello"))
        assert (await lines.get()).endswith(b": hello\n")
        await _wait_closed(syslog)
    syslog.close()
    server.close()


async def _wait_closed(syslog: syslog_client.Syslog) -> None:
    """The server's end of the stream has come."""
    stream = await syslog._connected()
    assert isinstance(stream, syslog_client._Stream)
    async with asyncio.timeout(20):
        assert await stream.reader.read() == b""


def test_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syslog_client, "LOCAL_SOCKETS", ("/no/such/socket",))
    with pytest.raises(HostFailed, match="Unix syslog delivery error"):
        asyncio.run(make_syslog({}, "web").connect())
    with pytest.raises(HostFailed, match=r"dial tcp 127\.0\.0\.1:1: connect: connection refused"):
        asyncio.run(make_syslog({"syslog-address": "tcp://127.0.0.1:1"}, "web").connect())


def test_a_certificate_that_is_not_there() -> None:
    options = {"syslog-address": "tcp+tls://127.0.0.1:1", "syslog-tls-ca-cert": "/no/such/file"}
    with pytest.raises(HostFailed, match=r"dial tcp 127\.0\.0\.1:1: connect: no such file or directory"):
        make_syslog(options, "web")
