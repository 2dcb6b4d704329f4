"""Queries and answers of the domain name system (RFC 1035), as far as a container's name server speaks it. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

HEADER_SIZE = 12  # RFC 1035, 4.1.1
A, PTR, MX, AAAA = 1, 12, 15, 28
INTERNET = 1
SERVFAIL = 2
#: Seconds, as docker's (libnetwork, respTTL).
TTL = 600
#: What a datagram carries unless the query says more by EDNS (RFC 1035, 4.2.1).
SMALLEST_LIMIT = 512
_OPT = 41
_RESPONSE, _TRUNCATED, _RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x8000, 0x0200, 0x0100, 0x0080
_OPCODE = 0x7800
_HEADER = struct.Struct("!HHHHHH")  # id, flags, numbers of questions, answers, authorities and additional records
_RECORD = struct.Struct("!HHHIH")  # name as a pointer, type, class, TTL, length of data
_NAME_POINTER = 0xC000 | HEADER_SIZE  # to the question's name (RFC 1035, 4.1.4)
_REVERSE = {".in-addr.arpa": 4, ".ip6.arpa": 6}


@dataclass(frozen=True, slots=True)
class Question:
    """A query's only question; `end` is where it ends in the message, `limit` the longest answer by datagram."""

    name: str
    type: int
    end: int
    limit: int = SMALLEST_LIMIT


def parse_question(query: bytes) -> Question | None:
    """None for whatever isn't a plain query with one question about the internet: others may know what it is."""
    if len(query) < HEADER_SIZE:
        return None
    _, flags, questions, _, _, additional = _HEADER.unpack_from(query)
    if flags & (_RESPONSE | _OPCODE) or questions != 1:
        return None
    labels, at = _parse_labels(query)
    if at < 0 or at + 4 > len(query):
        return None
    kind, kind_class = struct.unpack_from("!HH", query, at)
    if kind_class != INTERNET:
        return None
    return Question(".".join(labels), kind, at + 4, _parse_limit(query, at + 4) if additional else SMALLEST_LIMIT)


def parse_reverse(name: str) -> str:
    """The address that a PTR question asks about; "" where it is none."""
    lowered = name.lower().rstrip(".")
    for suffix, version in _REVERSE.items():
        if lowered.endswith(suffix):
            return _parse_reversed(lowered.removesuffix(suffix).split("."), version)
    return ""


def plan_addresses(query: bytes, question: Question, addresses: Iterable[str], stream: bool = False) -> bytes:
    """NOERROR with a record for each address; with none it says that there is the name, but nothing of that type."""
    packed = [ip_address(address).packed for address in addresses]
    return _plan_answer(query, question, packed, stream)


def plan_pointer(query: bytes, question: Question, name: str, stream: bool = False) -> bytes:
    return _plan_answer(query, question, [_pack_name(name)], stream)


def plan_failure(query: bytes, code: int = SERVFAIL) -> bytes:
    """For a query that nobody answers, so that its sender needn't wait: the header with the code, and the question."""
    identity, flags, questions, _, _, _ = _HEADER.unpack_from(query)
    kept = flags & (_OPCODE | _RECURSION_DESIRED)
    question = parse_question(query)
    tail = query[HEADER_SIZE : question.end] if question else query[HEADER_SIZE:]
    header = _HEADER.pack(identity, _RESPONSE | kept | _RECURSION_AVAILABLE | code, questions, 0, 0, 0)
    return header + tail


def _plan_answer(query: bytes, question: Question, data: list[bytes], stream: bool) -> bytes:
    """As many records as fit; a datagram that leaves some out says so, and its reader asks again by TCP."""
    limit = 0xFFFF if stream else question.limit
    text = query[HEADER_SIZE : question.end]
    records = [_RECORD.pack(_NAME_POINTER, question.type, INTERNET, TTL, len(one)) + one for one in data]
    fitting: list[bytes] = []
    size = HEADER_SIZE + len(text)
    for record in records:
        if size + len(record) > limit:
            break
        fitting.append(record)
        size += len(record)
    identity, flags = struct.unpack_from("!HH", query)
    cut = _TRUNCATED if len(fitting) < len(records) else 0
    flags = _RESPONSE | (flags & _RECURSION_DESIRED) | _RECURSION_AVAILABLE | cut
    return _HEADER.pack(identity, flags, 1, len(fitting), 0, 0) + text + b"".join(fitting)


def _parse_labels(query: bytes) -> tuple[list[str], int]:
    """The labels of the name that begins behind the header, and where it ends; -1 where it is malformed."""
    labels: list[str] = []
    at = HEADER_SIZE
    while at < len(query):
        length = query[at]
        at += 1
        if not length:
            return labels, at
        if length > 63 or at + length > len(query):  # a pointer has no place in a question
            break
        labels.append(query[at : at + length].decode("latin-1"))
        at += length
    return labels, -1


def _parse_limit(query: bytes, at: int) -> int:
    """What EDNS offers (RFC 6891): an OPT record behind the question has the root as name."""
    if len(query) < at + 5 or query[at] != 0:
        return SMALLEST_LIMIT
    kind, size = struct.unpack_from("!HH", query, at + 1)
    return max(SMALLEST_LIMIT, size) if kind == _OPT else SMALLEST_LIMIT


def _parse_reversed(parts: list[str], version: int) -> str:
    ordered = parts[::-1]
    text = (
        ".".join(ordered)
        if version == 4
        else ":".join("".join(ordered[start : start + 4]) for start in range(0, 32, 4))
    )
    try:
        return str(ip_address(text)) if version == 4 or len(parts) == 32 else ""
    except ValueError:
        return ""


def _pack_name(name: str) -> bytes:
    labels = [label.encode()[:63] for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
