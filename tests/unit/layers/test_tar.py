"""The tar reader, held against Python's tarfile and against damaged input."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.store.tar import BLOCK, TarDecoder, TarEntry, TarError, shown

_NAME = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=150).map(
    lambda text: text.replace("/", "_").strip(".") or "x"
)
_MEMBER = st.tuples(
    _NAME, st.binary(max_size=2000), st.integers(0, 0o7777), st.integers(0, 1 << 40), st.integers(0, 2**33)
)


def _write(members: list[tuple[str, bytes, int, int, int]], form: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, data, mode, uid, mtime in members:
            header = tarfile.TarInfo(name)
            header.size, header.mode, header.uid, header.mtime = len(data), mode, uid, mtime
            archive.addfile(header, io.BytesIO(data))
    return stream.getvalue()


def _read(data: bytes, sizes: list[int]) -> list[tuple[TarEntry, bytes]]:
    """Fed in chunks of the given sizes, over and over."""
    decoder = TarDecoder()
    found: list[tuple[TarEntry, bytes]] = []
    position = turn = 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        for event in decoder.feed(data[position : position + size]):
            if isinstance(event, TarEntry):
                found.append((event, b""))
            else:
                found[-1] = (found[-1][0], found[-1][1] + bytes(event))
        position += size
        turn += 1
    decoder.finish()
    return found


@given(
    st.lists(_MEMBER, max_size=5),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.lists(st.integers(1, 3000), min_size=1, max_size=5),
)
def test_reads_what_tarfile_writes_in_any_chunks(
    members: list[tuple[str, bytes, int, int, int]], form: int, sizes: list[int]
) -> None:
    found = _read(_write(members, form), sizes)
    seen = [(e.name.decode(), data, e.mode, e.uid, e.mtime_ns // 10**9) for e, data in found]
    assert seen == members


@given(st.binary(max_size=3 * BLOCK), st.integers(1, 700))
def test_garbage_is_an_error_or_nothing(data: bytes, size: int) -> None:
    try:
        _read(data, [size])
    except TarError as error:
        assert "\n" not in str(error)


@given(st.lists(_MEMBER, min_size=1, max_size=3), st.data())
def test_a_flipped_byte_never_raises_anything_else(
    members: list[tuple[str, bytes, int, int, int]], choice: st.DataObject
) -> None:
    data = bytearray(_write(members, tarfile.PAX_FORMAT))
    data[choice.draw(st.integers(0, len(data) - 1))] ^= choice.draw(st.integers(1, 255))
    try:
        _read(bytes(data), [512])
    except TarError:
        pass


def test_truncation_is_an_error() -> None:
    data = _write([("a", b"x" * 5000, 0o644, 0, 0)], tarfile.PAX_FORMAT)
    for length in (100, 512, 700, 512 + 4999):
        with pytest.raises(TarError, match="unexpected end of the archive"):
            _read(data[:length], [333])


def test_a_missing_end_marker_is_accepted() -> None:
    data = _write([("a", b"x" * 512, 0o644, 0, 0)], tarfile.PAX_FORMAT)
    assert len(_read(data[: 2 * BLOCK], [100])) == 1


def test_the_last_padding_may_be_missing() -> None:
    data = _write([("a", b"x" * 700, 0o644, 0, 0)], tarfile.PAX_FORMAT)
    for length in (BLOCK + 700, BLOCK + 701):
        assert len(_read(data[:length], [100])) == 1


def test_huge_headers_are_refused_before_they_are_read() -> None:
    header = tarfile.TarInfo("huge")
    header.type, header.size = b"x", 1 << 40
    with pytest.raises(TarError, match="header of 1099511627776 bytes, at most"):
        _read(header.tobuf(tarfile.GNU_FORMAT), [512])


def test_long_names_are_refused() -> None:
    data = _write([("n" * 5000, b"", 0o644, 0, 0)], tarfile.PAX_FORMAT)
    with pytest.raises(TarError, match="name of 5000 bytes, at most 4095"):
        _read(data, [512])


def test_sparse_files_are_refused() -> None:
    header = tarfile.TarInfo("s")
    header.pax_headers = {"GNU.sparse.major": "1"}
    with pytest.raises(TarError, match='sparse file "s" isn\'t supported'):
        _read(header.tobuf(tarfile.PAX_FORMAT), [512])


@given(st.binary(max_size=400))
def test_shown_names_fit_into_a_line(name: bytes) -> None:
    assert shown(name).isprintable() and len(shown(name)) < 210
