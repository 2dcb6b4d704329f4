"""All containers: found by what users call them, stored before they are remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from guest_agent.engine.container import Status
from guest_agent.engine.table import ContainerTable
from guest_agent.store.paths import EnginePaths
from guest_agent.store.records import Records
from guest_agent.wire.errors import Conflict, InvalidArgument, NotFound
from tests.unit.engine.records import container


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    opened = Records(str(tmp_path / "engine.db"), str(tmp_path / "set-aside"))
    yield opened
    opened.close()


def open_table(records: Records) -> ContainerTable:
    table = ContainerTable(records, EnginePaths("/nonexistent", "/nonexistent"))
    table.load()
    return table


def test_found_by_id_prefix_and_name(records: Records) -> None:
    table = open_table(records)
    one = table.save(container(name="one", identity="ab" * 32))
    two = table.save(container(name="ab", identity="ac" * 32))
    assert [table.find(ref) for ref in (one.id, "one", "/one", "aba")] == [one] * 4
    assert table.find("ab") is two  # a name goes before the beginning of an id
    with pytest.raises(InvalidArgument, match="Multiple IDs"):
        table.find("a")
    with pytest.raises(NotFound, match="No such container: nobody"):
        table.find("nobody")
    with pytest.raises(InvalidArgument):
        table.find("")


def test_a_successor_finds_what_was_saved(records: Records) -> None:
    saved = open_table(records).save(container(Status.RUNNING, pid=5, start_ticks=7))
    assert open_table(records).all() == (saved,)


def test_a_new_name_frees_the_old_one(records: Records) -> None:
    table = open_table(records)
    table.save(replace(table.save(container(name="old")), name="new"))
    table.check_name_free("old")
    with pytest.raises(Conflict, match='The container name "/new" is already in use'):
        table.check_name_free("new")


def test_what_is_forgotten_is_told_and_frees_its_name(records: Records) -> None:
    async def scenario() -> None:
        table = open_table(records)
        saved = table.save(container())
        live = table.live(saved.id)
        table.forget(saved)
        assert live.removed.is_set() and table.all() == () and table.names == {}

    asyncio.run(scenario())
    assert open_table(records).all() == ()


@pytest.mark.parametrize("text", ["{", "[]", '{"id": 5}', '{"config": {"labels": []}}'])
def test_a_record_that_cannot_be_read_is_set_aside_once(records: Records, text: str) -> None:
    records.put("container", "f" * 64, text)
    table = open_table(records)
    assert (table.all(), table.unreadable, len(table.warnings)) == ((), ["f" * 64], 1)
    assert records.get("set-aside-container", "f" * 64) == text
    again = open_table(records)
    assert (again.unreadable, again.warnings) == (["f" * 64], [])
