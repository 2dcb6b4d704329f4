"""Every compression, in any chunks, with several members, and damaged."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.store.inflate import InflateError, open_inflater

_KINDS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def _inflate(data: bytes, size: int) -> bytes:
    inflater = open_inflater(data)
    pieces = [b"".join(inflater.feed(data[at : at + size])) for at in range(0, len(data), size)]
    inflater.finish()
    return b"".join(pieces)


@given(st.sampled_from(sorted(_KINDS)), st.lists(st.binary(max_size=3000), min_size=1, max_size=3), st.integers(1, 500))
def test_members_in_any_chunks(kind: str, parts: list[bytes], size: int) -> None:
    data = b"".join(_KINDS[kind](part) for part in parts)
    assert _inflate(data, size) == b"".join(parts)


@pytest.mark.parametrize("kind", sorted(_KINDS))
def test_truncation(kind: str) -> None:
    data = _KINDS[kind](bytes(range(256)) * 100)
    with pytest.raises(InflateError):
        _inflate(data[:-5], 100)


@pytest.mark.parametrize("kind", sorted(_KINDS))
def test_garbage_behind(kind: str) -> None:
    with pytest.raises(InflateError):
        _inflate(_KINDS[kind](b"data" * 100) + b"garbage", 10_000)


def test_a_bomb_comes_in_small_pieces() -> None:
    bomb = gzip.compress(bytes(100 << 20))
    assert max(len(piece) for piece in open_inflater(bomb).feed(bomb)) <= 1 << 20


@pytest.fixture
def without_isal(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an interpreter that has no build of it."""
    monkeypatch.setitem(sys.modules, "isal.igzip_lib", None)


@pytest.mark.usefixtures("without_isal")
@pytest.mark.parametrize("size", [1, 7, 100, 10_000, 4 << 20])
@pytest.mark.parametrize("parts", [[b""], [b"x"], [bytes(2 << 20), b"", bytes(range(256)) * 9000]])
def test_gzip_without_isal(parts: list[bytes], size: int) -> None:
    data = b"".join(map(gzip.compress, parts))
    assert _inflate(data, size) == b"".join(parts)


@pytest.mark.usefixtures("without_isal")
def test_damage_and_bombs_without_isal() -> None:
    test_truncation("gzip")
    test_garbage_behind("gzip")
    test_a_bomb_comes_in_small_pieces()


def test_plain() -> None:
    assert _inflate(b"just a tar", 3) == b"just a tar"
