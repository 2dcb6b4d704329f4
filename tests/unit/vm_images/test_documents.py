"""Files that are written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from guest_agent.wire.errors import HostFailed
from vm_images.documents import keep_document, write_document


@pytest.mark.parametrize("write", [write_document, keep_document])
def test_what_cannot_be_written_leaves_nothing(write: Callable[[str, bytes], None], tmp_path: Path) -> None:
    """The part of it stayed beside the folder that was in its way."""
    (tmp_path / "here").mkdir()
    with pytest.raises(HostFailed, match=r"^cannot write .*/here: Is a directory$"):
        write(str(tmp_path / "here"), b"x")
    assert list(tmp_path.iterdir()) == [tmp_path / "here"]


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "document"
    with pytest.raises(HostFailed, match="No such file or directory"):
        write_document(str(path), b"")
    for data in (b"first", b"second"):
        keep_document(str(path), data)
        assert path.read_bytes() == data
    with pytest.raises(HostFailed, match=r"^cannot write .*: (Not a directory|File exists)$"):
        keep_document(f"{path}/more", b"")
    assert [it.name for it in path.parent.iterdir()] == ["document"]
