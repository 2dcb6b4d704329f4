"""Any tar comes back from its outline and the files that were unpacked from it."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest_agent.layers.outline import Content, OutlineError, OutlineWriter, Replaced, read_outline
from guest_agent.store.tar import TarDecoder, TarEntry

_NAMES = st.sampled_from(["a", "b/c", "d" * 150, "e"])
_FILES = st.lists(st.tuples(_NAMES, st.binary(max_size=1500)), max_size=6)


def _tar(files: list[tuple[str, bytes]], form: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _outline(data: bytes, size: int, path: str) -> list[str]:
    """Written in pieces; the names in the order of their contents."""
    writer = OutlineWriter(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    decoder = TarDecoder()
    names = []
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        for event in decoder.feed(piece):
            if isinstance(event, TarEntry) and event.size:
                writer.expect(decoder.position, Content(event.name, event.size))
                names.append(event.name.decode())
        writer.take(piece)
    writer.finish()
    return names


@settings(max_examples=60, deadline=None)
@given(
    _FILES, st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]), st.integers(100, 4000), st.binary(max_size=700)
)
def test_what_is_left_out_comes_back(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, bytes]], form: int, size: int, trailer: bytes
) -> None:
    data = _tar(files, form) + trailer
    path = str(tmp_path_factory.mktemp("outline") / "outline")
    names = _outline(data, size, path)
    contents = iter([content for _name, content in files if content])
    descriptor = os.open(path, os.O_RDONLY)
    records = list(read_outline(descriptor))
    os.close(descriptor)
    assert [record.name.decode() for record in records if isinstance(record, Content)] == names
    assert b"".join(next(contents) if isinstance(one, Content) else one for one in records if one) == data  # type: ignore[misc]


def test_a_replaced_file_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer may name a file twice, and only the second is in the tree afterwards."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"first")
    writer = OutlineWriter(os.open("outline", os.O_RDWR | os.O_CREAT))
    writer.expect(0, Content(b"d/f", 5))
    writer.take(b"first")
    writer.replace(b"d")
    writer.finish()
    descriptor = os.open("outline", os.O_RDONLY)
    assert list(read_outline(descriptor)) == [Content(b"d/f", 5), Replaced(0, b"first")]
    os.close(descriptor)


@pytest.mark.parametrize("data", [b"", b"no gzip at all", b"\x1f\x8b\x08\x00"])
def test_damage(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "outline").write_bytes(data)
    descriptor = os.open(tmp_path / "outline", os.O_RDONLY)
    with pytest.raises(OutlineError):
        list(read_outline(descriptor))
    os.close(descriptor)
