"""Records in SQLite: small JSON documents by kind and key, one transaction per change of state.

WAL with `synchronous=FULL`: a transaction that returned survives a power cut (https://sqlite.org/pragma.html,
"synchronous"). What a power cut ends anyhow, such as the record of a `--rm` container, may ask for a transaction
without the fsync (0.05 ms instead of 1 to 5); its atomicity stays.

On a full disk, too, containers must stop and images go. So the log has some room from the start, and the file free
pages; where the log would have to grow and can't, it is written back and begins anew in the room that it has.

A file that can't be read is set aside with what hangs on it, and what is still readable of it is carried over; a file
of a newer format is refused, because writing to it would lose what we don't know of.

Not thread-safe: one connection, used by the engine's main thread.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from guest_agent.wire.errors import DataDamaged, HostFailed

#: Raised when the meaning of stored records changes; an engine refuses a file with a higher one.
FORMAT = 1

#: The kind of the record that tells of a recovery, until start-up has dealt with it.
_RECOVERED = "recovered"
_RESERVED = "reserved"

#: Bytes that log and file have in reserve: some tens of transactions.
_RESERVE = 128 << 10

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID
"""


class Records:
    """The engine's database. `warnings` says what had to be set aside, this time or at an unfinished earlier start."""

    def __init__(self, path: str, set_aside: str) -> None:
        """Open or make the file at `path`; a damaged one is moved into the folder `set_aside`.

        Raises DataDamaged for a file of a newer format, HostFailed where the file can't be opened at all.
        """
        self._depth = 0
        self._written: list[tuple[str, tuple[str, ...]]] = []  # in the transaction under way
        try:
            self._connection = _open(path)
        except sqlite3.OperationalError as error:
            raise HostFailed(f"can't open the database {path}: {error}") from error
        except sqlite3.DatabaseError as error:
            _recover(path, set_aside, str(error))
            self._connection = _open(path)
        self.warnings = [value for _key, value in self.items(_RECOVERED)]

    def settled(self) -> None:
        """Start-up has set aside what belonged to lost records: the next one needn't be as careful."""
        for key, _value in list(self.items(_RECOVERED)):
            self.delete(_RECOVERED, key)

    def get(self, kind: str, key: str) -> str | None:
        """The document, or None."""
        row = self._connection.execute("SELECT value FROM records WHERE kind=? AND key=?", (kind, key)).fetchone()
        return None if row is None else str(row[0])

    def items(self, kind: str) -> Iterator[tuple[str, str]]:
        """All documents of a kind as (key, value), by key."""
        yield from self._connection.execute("SELECT key, value FROM records WHERE kind=? ORDER BY key", (kind,))

    def kinds(self) -> list[str]:
        """Those that there are records of."""
        return [str(kind) for (kind,) in self._connection.execute("SELECT DISTINCT kind FROM records")]

    def put(self, kind: str, key: str, value: str) -> None:
        """Store or replace; outside a transaction it is one of its own."""
        with self.transaction():
            self._write("INSERT OR REPLACE INTO records VALUES (?,?,?)", (kind, key, value))

    def delete(self, kind: str, key: str) -> None:
        """Remove; nothing happens where there is none."""
        with self.transaction():
            self._write("DELETE FROM records WHERE kind=? AND key=?", (kind, key))

    @contextmanager
    def transaction(self, durable: bool = True) -> Iterator[None]:
        """All of the block or nothing. Nested blocks belong to the outermost one.

        On a full disk HostFailed is raised and nothing of the block is stored.
        """
        if self._depth:
            yield
            return
        self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        self._connection.execute("BEGIN IMMEDIATE")
        self._written = []
        self._depth += 1
        try:
            yield
            self._commit()
        except sqlite3.Error as error:
            self._rollback()
            raise HostFailed(f"can't write the database: {error}", "is the disk full?") from error
        except BaseException:
            self._rollback()
            raise
        finally:
            self._depth -= 1

    def close(self) -> None:
        self._connection.close()

    def _write(self, sql: str, values: tuple[str, ...]) -> None:
        self._connection.execute(sql, values)
        self._written.append((sql, values))

    def _commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_FULL:
                raise
            self._commit_in_the_reserve()

    def _commit_in_the_reserve(self) -> None:
        self._rollback()
        self._connection.execute("PRAGMA wal_checkpoint(RESTART)")
        self._connection.execute("BEGIN IMMEDIATE")
        for sql, values in self._written:
            self._connection.execute(sql, values)
        self._connection.execute("COMMIT")

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _recover(path: str, folder: str, problem: str) -> None:
    """Put a file with the readable rows in the place of a damaged one, which is kept in `folder`.

    The new file is whole, and says what happened, before it takes the place: a kill at any moment leaves the damaged
    file there, or the new one.
    """
    aside = _name_aside(path, folder)
    fresh = f"{path}.recovered"
    _remove_if_there(fresh)
    with closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
        _check_format(connection, fresh)
        connection.execute(_SCHEMA)
        rows = list(_readable_rows(path))
        connection.executemany("INSERT OR REPLACE INTO records VALUES (?,?,?)", rows)
        story = (
            f"the database was damaged ({problem}); it was set aside as {aside}, "
            f"and {len(rows)} of its records could be carried over"
        )
        connection.execute("INSERT INTO records VALUES (?,?,?)", (_RECOVERED, aside, story))
    os.link(path, aside)
    for suffix in ("-wal", "-shm"):
        if os.path.exists(path + suffix):
            os.rename(path + suffix, aside + suffix)
    os.replace(fresh, path)


def _readable_rows(path: str) -> Iterator[tuple[str, str, str]]:
    """The rows up to the first damaged page."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            yield from connection.execute("SELECT kind, key, value FROM records")
    except sqlite3.Error:
        return


def _open(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=5)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        _check_format(connection, path)
        connection.execute(_SCHEMA)
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise sqlite3.DatabaseError(problem)
        _reserve(connection)
    except BaseException:
        connection.close()
        raise
    os.chmod(path, 0o600)
    return connection


def _reserve(connection: sqlite3.Connection) -> None:
    """A row that comes and goes leaves its pages to both files. On a disk that is full already it has to do without.

    Durably, although nobody cares for the row: the checkpoint writes back what earlier transactions left in the log,
    and lets the log begin anew. Without fsync in between a power cut would take them.
    """
    connection.execute("PRAGMA synchronous=FULL")
    with suppress(sqlite3.Error):
        row = (_RESERVED, "", "x" * _RESERVE)
        connection.execute("INSERT OR REPLACE INTO records VALUES (?,?,?)", row)
        connection.execute("DELETE FROM records WHERE kind=?", (_RESERVED,))
        connection.execute("PRAGMA wal_checkpoint(RESTART)")


def _check_format(connection: sqlite3.Connection, path: str) -> None:
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > FORMAT:
        raise DataDamaged(
            f"the database {path} is of format {found}, and this engine knows formats up to {FORMAT}",
            "it was written by a newer hostvm: upgrade, or choose another HOSTVM_DATA",
        )
    if found < FORMAT:
        connection.execute(f"PRAGMA user_version={FORMAT}")


def _name_aside(path: str, folder: str) -> str:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return os.path.join(folder, f"{os.path.basename(path)}.{time.strftime('%Y%m%dT%H%M%S')}.{time.time_ns() % 10**9}")


def _remove_if_there(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
