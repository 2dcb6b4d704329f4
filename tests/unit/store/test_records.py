"""The database: all or nothing, also when the disk is full, the file is damaged, or the engine is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest_agent.store.records import FORMAT, Records
from guest_agent.wire.errors import Conflict, DataDamaged, HostFailed


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "engine.db")


@pytest.fixture
def records(path: str) -> Iterator[Records]:
    opened = open_records(path)
    yield opened
    opened.close()


def open_records(path: str) -> Records:
    return Records(path, path + ".set-aside")


def reread(path: str, kind: str = "k") -> dict[str, str]:
    records = open_records(path)
    try:
        return dict(records.items(kind))
    finally:
        records.close()


def test_put_replace_get_delete(records: Records) -> None:
    records.put("k", "a", "1")
    records.put("k", "a", "2")
    records.put("other", "a", "3")
    assert (records.get("k", "a"), records.get("other", "a"), records.get("k", "b")) == ("2", "3", None)
    records.delete("k", "a")
    records.delete("k", "never was")
    assert list(records.items("k")) == []


def test_items_come_by_key(records: Records) -> None:
    for key in ("b", "c", "a"):
        records.put("k", key, key.upper())
    assert list(records.items("k")) == [("a", "A"), ("b", "B"), ("c", "C")]


@pytest.mark.parametrize("durable", [True, False])
def test_a_committed_transaction_is_there_for_the_next_engine(path: str, durable: bool) -> None:
    records = open_records(path)
    with records.transaction(durable):
        records.put("k", "a", "1")
        records.put("k", "b", "2")
    records.close()
    assert reread(path) == {"a": "1", "b": "2"}


@pytest.mark.parametrize("error", [Conflict("no"), KeyboardInterrupt(), ValueError()])
def test_nothing_of_a_block_that_fails(records: Records, error: BaseException) -> None:
    records.put("k", "a", "before")
    with pytest.raises(type(error)), records.transaction():
        records.put("k", "a", "after")
        records.put("k", "b", "new")
        raise error
    assert dict(records.items("k")) == {"a": "before"}
    records.put("k", "c", "usable")
    assert records.get("k", "c") == "usable"


def test_nested_blocks_belong_to_the_outermost(records: Records) -> None:
    with pytest.raises(Conflict), records.transaction():
        with records.transaction():
            records.put("k", "inner", "1")
        raise Conflict("after the inner block had ended")
    assert records.get("k", "inner") is None


def fill_disk(records: Records) -> None:
    """A database that may not grow answers as a full disk does: SQLITE_FULL (https://sqlite.org/rescode.html#full)."""
    pages = records._connection.execute("PRAGMA page_count").fetchone()[0]
    records._connection.execute(f"PRAGMA max_page_count={pages}")


def test_a_full_disk_is_the_hosts_fault_and_stores_nothing(records: Records) -> None:
    records.put("k", "a", "1")
    fill_disk(records)
    with pytest.raises(HostFailed, match="full") as caught, records.transaction():
        records.put("k", "a", "2")
        records.put("k", "big", "x" * 1_000_000)
    assert "disk" in caught.value.hint
    assert dict(records.items("k")) == {"a": "1"}
    records.put("k", "a", "small enough")
    assert records.get("k", "a") == "small enough"


def test_only_root_reads_the_file(records: Records, path: str) -> None:
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_newer_format_is_refused_and_left_as_it_is(path: str) -> None:
    open_records(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version={FORMAT + 1}")
    connection.close()
    with pytest.raises(DataDamaged, match="format") as caught:
        open_records(path)
    assert "newer" in caught.value.hint
    assert os.listdir(os.path.dirname(path)) == ["engine.db"]


def test_a_place_that_cannot_be_opened_is_the_hosts_fault(tmp_path: Path) -> None:
    with pytest.raises(HostFailed, match="can't open"):
        open_records(str(tmp_path / "missing" / "engine.db"))


def test_a_file_that_is_no_database_is_set_aside(path: str) -> None:
    Path(path).write_bytes(b"this was a database once, before the disk had other ideas" * 100)
    records = open_records(path)
    assert len(records.warnings) == 1 and "0 of its records" in records.warnings[0]
    records.put("k", "a", "1")
    records.close()
    [moved] = os.listdir(path + ".set-aside")
    assert Path(path + ".set-aside", moved).read_bytes().startswith(b"this was a database")
    assert reread(path) == {"a": "1"}


def damage_last_page(path: str) -> None:
    with open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size - 4096)
        file.write(b"\xff" * 4096)


def test_the_readable_rows_of_a_damaged_file_are_carried_over(path: str) -> None:
    records = open_records(path)
    with records.transaction():
        for number in range(2000):  # beyond the reserve
            records.put("k", f"{number:04}", "x" * 200)
    records.close()
    damage_last_page(path)
    records = open_records(path)
    survivors = dict(records.items("k"))
    [warning] = records.warnings
    records.close()
    assert 0 < len(survivors) < 2000 and f"{len(survivors)} of its records" in warning
    assert os.listdir(path + ".set-aside")
    assert reread(path) == survivors


KILLED = """
import os, signal, sys
from guest_agent.store.records import Records
records = Records(sys.argv[1], sys.argv[1] + ".set-aside")
for number in range(5):
    with records.transaction(durable=bool(number % 2)):
        records.put("k", f"{number}a", "1")
        records.put("k", f"{number}b", "2")
records._connection.execute("PRAGMA cache_spill=1")
with records.transaction():
    for number in range(200):
        records.put("k", f"lost{number}", "x" * 5000)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_in_the_middle_of_a_transaction(path: str) -> None:
    """The block is a megabyte, so that some of it is in the write-ahead log already."""
    done = subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert sorted(reread(path)) == [f"{number}{letter}" for number in range(5) for letter in "ab"]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.dictionaries(st.sampled_from("abcd"), st.none() | st.just("1"), max_size=4)),
        max_size=8,
    )
)
def test_only_blocks_that_ended_well_count(blocks: list[tuple[bool, dict[str, str | None]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        records, model = open_records(f"{folder}/engine.db"), dict[str, str]()
        apply_blocks(records, model, blocks)
        assert dict(records.items("k")) == model
        records.close()


def apply_blocks(records: Records, model: dict[str, str], blocks: list[tuple[bool, dict[str, str | None]]]) -> None:
    """To the database, and those that succeed to the model of it."""
    for succeeds, changes in blocks:
        try:
            with records.transaction():
                for key, value in changes.items():
                    records.delete("k", key) if value is None else records.put("k", key, value)
                if not succeeds:
                    raise Conflict("undo")
        except Conflict:
            continue
        model.update({key: value for key, value in changes.items() if value is not None})
        for key in [key for key, value in changes.items() if value is None]:
            model.pop(key, None)
