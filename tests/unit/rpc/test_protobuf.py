"""The codec against the format's own examples, against itself, and against any bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as some

from guest_agent.buildkit.messages import Packet, SolveRequest, StatusResponse
from guest_agent.rpc.protobuf import (
    ProtobufError,
    data,
    decode,
    encode,
    flag,
    integer,
    message,
    messages,
    text,
    text_map,
    texts,
)


@dataclass(frozen=True, slots=True)
class Inner:
    number: int = integer(1)


@dataclass(frozen=True, slots=True)
class Outer:
    number: int = integer(1)
    name: str = text(2)
    inner: Inner | None = message(3, Inner)
    names: tuple[str, ...] = texts(4)
    raw: bytes = data(5)
    on: bool = flag(6)
    pairs: Mapping[str, str] = text_map(7)
    inners: tuple[Inner, ...] = messages(16, Inner)


_INNERS = some.builds(Inner, some.integers(-(1 << 63), (1 << 63) - 1))
_OUTERS = some.builds(
    Outer,
    some.integers(-(1 << 63), (1 << 63) - 1),
    some.text(),
    some.none() | _INNERS,
    some.lists(some.text()).map(tuple),
    some.binary(),
    some.booleans(),
    some.dictionaries(some.text(), some.text()),
    some.lists(_INNERS).map(tuple),
)


def test_the_examples_of_the_format() -> None:
    """https://protobuf.dev/programming-guides/encoding/: 150, "testing", and an embedded message."""
    assert encode(Outer(number=150)).hex() == "089601"
    assert encode(Outer(name="testing")).hex() == "120774657374696e67"
    assert encode(Outer(inner=Inner(150))).hex() == "1a03089601"
    assert encode(Outer(number=-2)).hex() == "08feffffffffffffffff01"
    assert encode(Outer()) == b"" and encode(Outer(inner=Inner())) == b"\x1a\x00"


@given(_OUTERS)
def test_what_was_encoded_is_decoded(value: Outer) -> None:
    assert decode(Outer, encode(value)) == value


@given(_OUTERS)
def test_fields_that_are_not_declared_are_skipped(value: Outer) -> None:
    known = decode(Inner, encode(value))
    assert known == Inner(value.number)


def test_fixed_numbers_are_skipped_and_the_last_of_several_counts() -> None:
    assert decode(Inner, b"\x11" + bytes(8) + b"\x1d" + bytes(4) + b"\x08\x01\x08\x02") == Inner(2)


@given(some.binary())
def test_any_bytes_are_a_message_or_an_error(encoded: bytes) -> None:
    for kind in (Outer, SolveRequest, StatusResponse, Packet):
        try:
            decode(kind, encoded)
        except ProtobufError:
            pass


@pytest.mark.parametrize(
    "encoded", [b"\x08", b"\x12\x05abc", b"\x00\x00", b"\x0b", b"\x0a\x00", b"\x08" + b"\xff" * 11]
)
def test_broken_messages(encoded: bytes) -> None:
    """Cut off, too long, without a number, a group, of another wire type, a number without an end."""
    with pytest.raises(ProtobufError):
        decode(Outer, encoded)


def test_names_that_are_no_text_survive() -> None:
    assert decode(Outer, encode(Outer(name="\udcff"))).name == "\udcff"


def test_a_field_that_comes_very_often() -> None:
    """Each value once copied all of those before it: half a MiB held the engine up for 15 s."""
    names = decode(Outer, b"\x22\x00" * 100_000).names
    assert names == ("",) * 100_000
    pairs = {str(number): "" for number in range(20_000)}
    assert decode(Outer, encode(Outer(pairs=pairs))).pairs == pairs
