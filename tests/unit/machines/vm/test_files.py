"""Copies with holes, files that are replaced whole, and the sockets' paths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guest_agent.wire.errors import HostFailed, InvalidArgument
from hostvm.machines.vm.durable import read_json, replace_file
from hostvm.machines.vm.paths import MachinePaths, VmPaths
from hostvm.machines.vm.sparse import copy_sparse, make_blank
from hostvm.machines.vm.start import check_socket_path


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.integers(0, 300), max_size=8), st.integers(0, 301 * 4096))
def test_copies_have_the_same_content(tmp_path: Path, blocks: list[int], size: int) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    with source.open("wb") as file:
        file.truncate(size)
        for block in blocks:
            file.seek(block * 4096)
            file.write(os.urandom(100))
    copy_sparse(str(source), str(target))
    assert target.read_bytes() == source.read_bytes()


def test_holes_stay_holes(tmp_path: Path) -> None:
    source, target = str(tmp_path / "a"), str(tmp_path / "b")
    make_blank(source, 1 << 40)
    with open(source, "r+b") as file:
        file.seek(1 << 39)
        file.write(b"x")
    copy_sparse(source, target)
    assert os.stat(target).st_size == 1 << 40
    assert os.stat(target).st_blocks * 512 < 1 << 20


def test_nothing_is_left_of_a_copy_that_failed(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        copy_sparse(str(tmp_path / "missing"), str(tmp_path / "b"))
    assert os.listdir(tmp_path) == []


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    replace_file(path, b"one")
    replace_file(path, b"two")
    assert Path(path).read_bytes() == b"two"
    assert os.stat(path).st_mode & 0o777 == 0o600
    with pytest.raises(HostFailed, match="can't write"):
        replace_file(str(tmp_path / "no" / "file"), b"x")
    assert os.listdir(tmp_path) == ["file"]
    assert read_json(str(tmp_path / "other")) is None


def test_socket_paths_have_a_limit() -> None:
    check_socket_path(MachinePaths("/d", "/run/user/1000/hostvm/machines/vm"))
    with pytest.raises(InvalidArgument, match="too long") as caught:
        check_socket_path(MachinePaths("/d", f"/{'x' * 90}"))
    assert "HOSTVM_RUN" in caught.value.hint


def test_a_macs_default_paths_are_short_enough() -> None:
    run = "/Users/a-name-of-sixteen/Library/Caches/TemporaryItems/hostvm"
    check_socket_path(VmPaths("/d", run, "/c").machine("vm"))
