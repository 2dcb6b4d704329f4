"""Protocol buffers' wire format, for messages that are frozen dataclasses. Sans-IO, pure.

A message is declared once, where its fields are: `name: str = text(3)` is field 3. There is no generated code and no
schema file; what a message doesn't declare is skipped, as the format wants it. proto3's rules: a field with its default
value isn't written, the last of several values of a single field counts.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from functools import cache
from typing import Any, TypeVar, cast

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED_64: 8, _FIXED_32: 4}
#: A varint has at most 64 bits.
_LONGEST_VARINT = 10
_KIND = "protobuf"

_M = TypeVar("_M")
#: What one field has on the wire: a number, or the bytes behind a length.
_Raw = int | bytes


class ProtobufError(ValueError):
    """The bytes are no message of this kind."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one field's values look on the wire. `gather` makes one of several; without it the last one counts."""

    number: int
    wire: int
    encode: Callable[[Any], Iterator[_Raw]]
    decode: Callable[[_Raw], object]
    gather: Callable[[list[Any]], object] | None = None


# -- declarations


def integer(number: int) -> int:
    """int32, int64, uint32, uint64 and enums; negative numbers as int64 has them."""
    return cast(int, _declare(0, _Kind(number, _VARINT, _one_if(_unsigned), _signed)))


def flag(number: int) -> bool:
    return cast(bool, _declare(False, _Kind(number, _VARINT, _one_if(int), bool)))


def text(number: int) -> str:
    """UTF-8; other bytes survive as surrogates: names of files have them."""
    return cast(str, _declare("", _Kind(number, _BYTES, _one_if(_to_bytes), _to_text)))


def data(number: int) -> bytes:
    return cast(bytes, _declare(b"", _Kind(number, _BYTES, _one_if(bytes), _plain)))


def texts(number: int) -> tuple[str, ...]:
    return cast("tuple[str, ...]", _declare((), _Kind(number, _BYTES, _each(_to_bytes), _to_text, tuple)))


def datas(number: int) -> tuple[bytes, ...]:
    return cast("tuple[bytes, ...]", _declare((), _Kind(number, _BYTES, _each(bytes), _plain, tuple)))


def message(number: int, kind: type[_M]) -> _M | None:
    """None where there is none."""
    return cast("_M | None", _declare(None, _Kind(number, _BYTES, _one_if(encode), _decoder(kind))))


def messages(number: int, kind: type[_M]) -> tuple[_M, ...]:
    return cast("tuple[_M, ...]", _declare((), _Kind(number, _BYTES, _each(encode), _decoder(kind), tuple)))


def text_map(number: int) -> Mapping[str, str]:
    kind = _Kind(number, _BYTES, _entries, _decoder(_TextEntry), _to_map)
    return cast("Mapping[str, str]", field(default_factory=dict, metadata={_KIND: kind}))


def _declare(default: object, kind: _Kind) -> object:
    return field(default=default, metadata={_KIND: kind})


# -- the two directions


def encode(value: object) -> bytes:
    kind_of_value: Any = type(value)
    parts = bytearray()
    for one, kind in _kinds(kind_of_value):
        for raw in kind.encode(getattr(value, one.name)):
            parts += _varint(kind.number << 3 | kind.wire)
            if isinstance(raw, int):
                parts += _varint(raw)
            else:
                parts += _varint(len(raw)) + raw
    return bytes(parts)


def decode(kind: type[_M], encoded: bytes) -> _M:
    """Raises ProtobufError."""
    known = _by_number(cast(Any, kind))
    values: dict[str, Any] = {}
    for number, wire, raw in _read(encoded):
        name, declared = known.get(number, ("", None))
        if declared is None:
            continue
        if declared.wire != wire:
            raise ProtobufError(f"{kind.__name__}.{name} has the wire type {wire}")
        if declared.gather is None:
            values[name] = declared.decode(raw)
        else:
            values.setdefault(name, []).append(declared.decode(raw))
    for name, declared in known.values():
        if declared.gather is not None and name in values:
            values[name] = declared.gather(values[name])
    return kind(**values)


@cache
def _kinds(kind: Any) -> tuple[tuple[Field[Any], _Kind], ...]:
    return tuple((one, one.metadata[_KIND]) for one in fields(kind))


@cache
def _by_number(kind: Any) -> Mapping[int, tuple[str, _Kind]]:
    return {declared.number: (one.name, declared) for one, declared in _kinds(kind)}


def _read(encoded: bytes) -> Iterator[tuple[int, int, _Raw]]:
    """Number, wire type and value of each field."""
    position = 0
    while position < len(encoded):
        tag, position = _read_varint(encoded, position)
        number, wire = tag >> 3, tag & 7
        if not number:
            raise ProtobufError("a field has the number 0")
        if wire == _VARINT:
            value, position = _read_varint(encoded, position)
            yield number, wire, value
            continue
        size = _FIXED_SIZES.get(wire, 0)
        if wire == _BYTES:
            size, position = _read_varint(encoded, position)
        elif not size:
            raise ProtobufError(f"unknown wire type {wire}")
        if size > len(encoded) - position:
            raise ProtobufError("a field is longer than its message")
        yield number, wire, encoded[position : position + size]
        position += size


def _read_varint(encoded: bytes, position: int) -> tuple[int, int]:
    """The number, and where it ends."""
    value = 0
    for shift, byte in enumerate(encoded[position : position + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value & (1 << 64) - 1, position + shift + 1
    raise ProtobufError("a number doesn't end")


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


# -- values


def _one_if(convert: Callable[[Any], _Raw]) -> Callable[[Any], Iterator[_Raw]]:
    """The value, unless it is the default. An empty message isn't: that it is there says something."""

    def values(value: object) -> Iterator[_Raw]:
        if value not in (0, "", b"", None):
            yield convert(value)

    return values


def _each(convert: Callable[[Any], _Raw]) -> Callable[[Any], Iterator[_Raw]]:
    return lambda values: (convert(value) for value in values)


def _entries(values: Mapping[str, str]) -> Iterator[bytes]:
    return (encode(_TextEntry(key, value)) for key, value in values.items())


def _to_map(entries: list[_TextEntry]) -> dict[str, str]:
    return {one.key: one.value for one in entries}


def _decoder(kind: type[_M]) -> Callable[[_Raw], _M]:
    return lambda raw: decode(kind, _plain(raw))


def _plain(raw: _Raw) -> bytes:
    assert isinstance(raw, bytes)
    return raw


def _to_bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def _to_text(raw: _Raw) -> str:
    return _plain(raw).decode("utf-8", "surrogateescape")


def _unsigned(value: int) -> int:
    return value & (1 << 64) - 1


def _signed(raw: _Raw) -> int:
    assert isinstance(raw, int)
    return raw - (1 << 64) if raw >> 63 else raw


@dataclass(frozen=True, slots=True)
class _TextEntry:
    key: str = text(1)
    value: str = text(2)
