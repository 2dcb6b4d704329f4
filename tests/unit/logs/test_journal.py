"""The journal's native protocol, read as its documentation has it (systemd, docs/JOURNAL_NATIVE_PROTOCOL.md)."""

from __future__ import annotations

import array
import asyncio
import fcntl
import os
import socket
import struct
from pathlib import Path

import pytest

from guest_agent.logs.journal import Journal, plan_fields, render_entry, sanitize_field
from guest_agent.logs.messages import Message, Part

COMMON = {"CONTAINER_ID": "abababababab", "CONTAINER_NAME": "box", "SYSLOG_IDENTIFIER": "abababababab"}


class FakeJournal:
    """A socket that takes entries as journald does: in a datagram, or in a sealed memfd."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.settimeout(20)

    def receive(self) -> tuple[dict[str, bytes], bool]:
        """An entry's fields, and whether it came in a file."""
        data, ancillary, _flags, _address = self._socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        if not ancillary:
            return parse_entry(data), False
        assert data == b""
        (descriptor,) = array.array("i", ancillary[0][2])
        with open(descriptor, "rb") as file:
            seals = fcntl.fcntl(file, fcntl.F_GET_SEALS)
            assert seals == fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
            return parse_entry(os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)), True

    def close(self) -> None:
        self._socket.close()


def parse_entry(data: bytes) -> dict[str, bytes]:
    fields: dict[str, bytes] = {}
    while data:
        line, _newline, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack_from("<Q", rest)
            value, rest = rest[8 : 8 + length], rest[8 + length :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        fields[name.decode()], data = value, rest
    return fields


def test_fields() -> None:
    fields = plan_fields(COMMON, Message(False, 1_700_000_000_120_000_000, b"hello"))
    assert fields == {
        "MESSAGE": b"hello",
        "CONTAINER_ID": b"abababababab",
        "CONTAINER_NAME": b"box",
        "SYSLOG_IDENTIFIER": b"abababababab",
        "PRIORITY": b"6",
        "SYSLOG_TIMESTAMP": b"2023-11-14T22:13:20.12Z",
    }
    piece = plan_fields({}, Message(True, 10**9, b"x", Part("id", 2, last=False)))
    assert piece == {
        "MESSAGE": b"x",
        "PRIORITY": b"3",
        "SYSLOG_TIMESTAMP": b"1970-01-01T00:00:01Z",
        "CONTAINER_PARTIAL_ID": b"id",
        "CONTAINER_PARTIAL_ORDINAL": b"2",
        "CONTAINER_PARTIAL_LAST": b"false",
        "CONTAINER_PARTIAL_MESSAGE": b"true",
    }
    assert "CONTAINER_PARTIAL_MESSAGE" not in plan_fields({}, Message(True, 0, b"x", Part("id", 3, last=True)))


def test_values_of_any_bytes() -> None:
    fields = {"MESSAGE": b"a\nb=\n\n", "NAME": b"x=y \xff"}
    assert render_entry(fields) == b"MESSAGE\n\x06\0\0\0\0\0\0\0a\nb=\n\n\nNAME=x=y \xff\n"
    assert parse_entry(render_entry(fields)) == fields


def test_names_of_fields() -> None:
    assert sanitize_field("com.example.tier-2") == "COM_EXAMPLE_TIER_2"
    assert sanitize_field("__x") == "X" and sanitize_field("é9") == "9" and sanitize_field("__") == ""


def test_what_a_journal_receives(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    fake = FakeJournal(path)

    async def send() -> None:
        journal = Journal(COMMON, path)
        await journal.send(Message(True, 0, b"hello"))
        await journal.send(Message(False, 0, b"x" * 1_000_000))
        journal.close()

    asyncio.run(send())
    small, in_file = fake.receive()
    assert (small["MESSAGE"], small["PRIORITY"], small["CONTAINER_NAME"], in_file) == (b"hello", b"3", b"box", False)
    large, in_file = fake.receive()
    assert (large["MESSAGE"], in_file) == (b"x" * 1_000_000, True)
    fake.close()


def test_a_slow_journal_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    fake = FakeJournal(path)

    async def exchange() -> list[bytes]:
        journal = Journal({}, path)
        sending = [asyncio.create_task(_send_all(journal))]
        received = [(await asyncio.to_thread(fake.receive))[0]["MESSAGE"] for _ in range(100)]
        await asyncio.gather(*sending)
        journal.close()
        return received

    received = asyncio.run(exchange())
    assert received[0] == b"0" and received[-1] == b"99" and len(received[50]) == 1_000_000
    fake.close()


async def _send_all(journal: Journal) -> None:
    for number in range(100):
        await journal.send(Message(False, 0, b"x" * 1_000_000 if number == 50 else b"%d" % number))


def test_no_journal(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        Journal({}, str(tmp_path / "socket"))
