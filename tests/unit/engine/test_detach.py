"""The detach keys are found in any chunking, and nothing else is held back for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.engine.detach import DetachScanner, parse_detach_keys
from guest_agent.wire.errors import InvalidArgument

TYPED = st.lists(st.sampled_from([b"\x10", b"\x11", b"x", b"\x10\x11", b"xx\x10"]), max_size=10).map(b"".join)


def scan(pieces: list[bytes]) -> tuple[bytes, bool]:
    scanner, passed = DetachScanner(b"\x10\x11"), b""
    for piece in pieces:
        some, detached = scanner.feed(piece)
        passed += some
        if detached:
            return passed, True
    return passed, False


@given(TYPED, st.integers(1, 5))
def test_any_chunking_gives_the_same(typed: bytes, size: int) -> None:
    assert scan([typed[at : at + size] for at in range(0, len(typed), size)]) == scan([typed])


@given(TYPED)
def test_all_before_the_keys_goes_on(typed: bytes) -> None:
    passed, detached = scan([typed])
    before, keys, _rest = typed.partition(b"\x10\x11")
    assert detached is bool(keys)
    assert passed == (before if keys else typed.removesuffix(b"\x10"))


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", b"\x10\x11"),
        ("a", b"a"),
        ("ctrl-a,x", b"\x01x"),
        ("ctrl-@,ctrl-[,ctrl-_", b"\x00\x1b\x1f"),
        ("DEL", b"\x7f"),
    ],
)
def test_spellings(text: str, keys: bytes) -> None:
    assert parse_detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-A", "ctrl-1", "ab", "a,,b", "é", "ctrl-é"])
def test_no_keys(text: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid detach keys"):
        parse_detach_keys(text)
