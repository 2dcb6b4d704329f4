"""A disk that is full when a transaction is to be committed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from guest_agent.store.records import Records


class _Full:
    """In the place of a connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, parameters: tuple[str, ...] = ()) -> sqlite3.Cursor:
        if sql == "COMMIT":
            raise sqlite3.OperationalError("database or disk is full")
        return self._connection.execute(sql, parameters)


@contextmanager
def full_disk(records: Records) -> Iterator[None]:
    """Each of its transactions fails at the end of its block, as an fsync may."""
    connection = records._connection
    records._connection = cast(sqlite3.Connection, _Full(connection))
    try:
        yield
    finally:
        records._connection = connection
