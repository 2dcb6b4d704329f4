"""What an ELF file asks the dynamic loader for (elf(5)): the shared libraries it needs. Bytes in, names out.

Only 64-bit little-endian files: that is what both of our architectures have.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_MAGIC = b"\x7fELF\x02\x01"
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB = 1, 5

#: Debian's architecture -> e_machine.
MACHINES = {"amd64": 62, "arm64": 183}


@dataclass(frozen=True, slots=True)
class Segment:
    kind: int
    offset: int
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class Elf:
    machine: int
    needed: tuple[str, ...]  #: DT_NEEDED, in order
    interpreter: str  #: "" = none: a static program or a library


def is_elf(data: bytes) -> bool:
    return data.startswith(_MAGIC)


def parse_elf(data: bytes) -> Elf:
    """Raises ValueError where the headers lead outside of the file."""
    try:
        segments = tuple(_segments(data))
        (machine,) = struct.unpack_from("<H", data, 18)
        return Elf(machine, tuple(_needed(data, segments)), _interpreter(data, segments))
    except (struct.error, IndexError) as error:
        raise ValueError(f"a damaged ELF file: {error}") from error


def _segments(data: bytes) -> Iterator[Segment]:
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for index in range(count):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, table + index * size)
        yield Segment(kind, offset, address, length)


def _needed(data: bytes, segments: tuple[Segment, ...]) -> Iterator[str]:
    for dynamic in (it for it in segments if it.kind == _PT_DYNAMIC):
        entries = [struct.unpack_from("<QQ", data, dynamic.offset + at) for at in range(0, dynamic.size, 16)]
        strings = next((value for tag, value in entries if tag == _DT_STRTAB), 0)
        for tag, value in entries:
            if tag == _DT_NEEDED:
                yield _string(data, _file_offset(strings, segments) + value)


def _file_offset(address: int, segments: tuple[Segment, ...]) -> int:
    for it in segments:
        if it.kind == _PT_LOAD and it.address <= address < it.address + it.size:
            return it.offset + address - it.address
    raise ValueError(f"no segment of the ELF file holds the address {address:#x}")


def _interpreter(data: bytes, segments: tuple[Segment, ...]) -> str:
    return next((_string(data, it.offset) for it in segments if it.kind == _PT_INTERP), "")


def _string(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset)
    if end < 0:
        raise ValueError("a name in the ELF file has no end")
    return data[offset:end].decode("ascii", "replace")
