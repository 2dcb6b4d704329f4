"""Rules, nodes, the journal, error numbers: pure or nearly so."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostvm.shares import nodes
from hostvm.shares.errnos import Refusal, linux_errno
from hostvm.shares.fuse import ROOT
from hostvm.shares.handles import Handle, HandleTable
from hostvm.shares.journal import Journal
from hostvm.shares.nodes import NodeTable
from hostvm.shares.rules import Ancestor, Covered, ShareRules, covers, plan_rules, split_path

SESSION = b"session1"
KEY, OTHER = (1, 2, 3), (1, 2, 4)


def plan(*paths: str) -> ShareRules:
    return plan_rules(paths, resolve=lambda path: path)


def test_what_is_covered_what_leads_there_and_what_is_hidden() -> None:
    rules = plan("/home/me", "/srv/data/x", "/home/me/below")
    assert rules.find(()) == Ancestor((b"home", b"srv"))
    assert rules.find((b"home",)) == Ancestor((b"me",))
    assert rules.find((b"home", b"me", b"a", b"b")) == Covered((b"home", b"me", b"a", b"b"))
    assert rules.find((b"home", b"meet")) is None and rules.find((b"etc",)) is None
    assert rules.find((b"srv", b"data")) == Ancestor((b"x",)) and len(rules.rules) == 2


def test_a_path_of_the_list_is_resolved_once() -> None:
    """A rule below another one must not lead through a link that the guest can plant there."""
    rules = plan_rules(
        ["/tmp", "/home/me", "/home/me/evil"], resolve=lambda path: {"/tmp": "/private/tmp"}.get(path, path)
    )
    assert rules.find((b"tmp", b"x")) == Covered((b"private", b"tmp", b"x"))
    assert rules.find((b"private", b"tmp")) == Covered((b"private", b"tmp"))
    assert rules.find((b"home", b"me", b"evil")) == Covered((b"home", b"me", b"evil"))


def test_nothing_and_everything() -> None:
    assert plan().find(()) == Ancestor(()) and plan().find((b"x",)) is None
    assert plan("/").find((b"x",)) == Covered((b"x",)) and plan("/").find(()) == Covered(())
    assert covers(["/"], "/etc") and not covers([], "/")


@given(
    st.lists(st.sampled_from(["/a", "/a/b", "/a/b/c", "/ab", "/b"])), st.sampled_from(["/a", "/a/b/x", "/ab/x", "/c"])
)
def test_covered_means_below_a_path_of_the_list(paths: list[str], path: str) -> None:
    expected = any(path == one or path.startswith(f"{one}/") for one in paths)
    assert isinstance(plan(*paths).find(split_path(path)), Covered) == expected


def test_names_of_a_node() -> None:
    table = NodeTable()
    folder, _ = table.add(KEY, (ROOT, b"d"), is_folder=True)
    file, fresh = table.add(OTHER, (folder.id, b"a"), is_folder=False)
    assert fresh and table.path(file) == (b"d", b"a")
    again, fresh = table.add(OTHER, (folder.id, b"b"), is_folder=False)
    assert again is file and fresh and table.path(file) == (b"d", b"b")
    table.add(KEY, (ROOT, b"moved"), is_folder=True)
    assert table.path(file) == (b"moved", b"b") and len(folder.names) == 1
    table.drop_name(file, (folder.id, b"b"), removed=True)
    assert table.path(file) == (b"moved", b"a") and not file.removed


def test_forgetting_is_counted() -> None:
    table = NodeTable()
    node, _ = table.add(KEY, (ROOT, b"x"), is_folder=False)
    table.add(KEY, (ROOT, b"x"), is_folder=False)
    assert table.forget(node.id, 1) is None and table.get(node.id) is node
    assert table.forget(node.id, 1) is node
    with pytest.raises(Refusal):
        table.get(node.id)
    assert table.forget(node.id, 5) is None and table.forget(ROOT, 5) is None
    again, _ = table.add(KEY, (ROOT, b"x"), is_folder=False)
    assert again.id != node.id, "an id is never used again"


def test_a_circle_of_names_ends() -> None:
    table = NodeTable()
    one, _ = table.add(KEY, (ROOT, b"a"), is_folder=True)
    two, _ = table.add(OTHER, (one.id, b"b"), is_folder=True)
    table.add(KEY, (two.id, b"c"), is_folder=True)
    with pytest.raises(Refusal):
        table.path(one)


def test_the_table_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "NODES_LIMIT", 10)
    table = NodeTable()
    with pytest.raises(Refusal):
        for number in range(20):
            table.add((1, number, 0), (ROOT, b"%d" % number), is_folder=False)
    assert len(table) == 10


def filled(path: str) -> NodeTable:
    """A table of which one node was forgotten, and one got a second name."""
    table, journal = NodeTable(), Journal(path)
    journal.open(SESSION, table)
    home, _ = table.add_ancestor((b"home",), (ROOT, b"home"))
    journal.named(home, (ROOT, b"home"))
    for key, name in ((KEY, b"a"), (OTHER, b"\xff odd"), (KEY, b"b"), ((5, 5, 5), b"gone")):
        node, _ = table.add(key, (home.id, name), is_folder=False)
        journal.named(node, (home.id, name))
    journal.gone(node)
    table.forget(node.id, 1)
    journal.close()
    return table


def described(table: NodeTable) -> dict[int, tuple[object, list[tuple[int, bytes]]]]:
    return {node.id: (node.key, list(node.names)) for node in table}


def test_the_journal_gives_a_table_back(tmp_path: Path) -> None:
    path = f"{tmp_path}/journal"
    before = filled(path)
    after = NodeTable()
    Journal(path).open(SESSION, after)
    assert described(after) == described(before)
    found = after.find(KEY)
    assert found is not None and found.kept and after.forget(found.id, 100) is None
    again, fresh = after.add_ancestor((b"home",), (ROOT, b"home"))
    assert not fresh and again.id in described(before)


def test_a_journal_of_another_guest_is_nothing(tmp_path: Path) -> None:
    filled(f"{tmp_path}/journal")
    table = NodeTable()
    Journal(f"{tmp_path}/journal").open(b"session2", table)
    assert len(table) == 1
    Journal(f"{tmp_path}/journal").open(SESSION, table)
    assert len(table) == 1, "and is gone"


@given(st.data())
def test_a_journal_cut_anywhere_can_be_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("j") / "journal"
    filled(str(path))
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut] + data.draw(st.binary(max_size=60)))
    Journal(str(path)).open(SESSION, NodeTable())


def test_handles_end_with_their_last_user(tmp_path: Path) -> None:
    table = HandleTable(2)
    handle = Handle(7, os.open(tmp_path, os.O_RDONLY))
    number = table.add(handle)
    assert table.find(number, 7) is handle and table.find(number, 8) is None and table.find(number + 1, 7) is None
    held = table.hold(handle)
    table.release(number)
    assert table.of_node(7) == [] and os.fstat(handle.descriptor)
    with table.using(held):
        pass
    assert handle.descriptor == -1
    table.add(Handle(1, -1))
    table.add(Handle(2, -1))
    with pytest.raises(Refusal):
        table.add(Handle(3, -1))
    assert table.nodes() == {1, 2}


def test_error_numbers_are_linuxs() -> None:
    assert linux_errno(OSError(errno.EDQUOT, "")) == 122
    assert linux_errno(OSError(errno.ELOOP, "")) == 40
    assert linux_errno(OSError(99999, "")) == 5
    for name in errno.errorcode.values():
        if name in ("ENOENT", "EACCES", "ENOSPC", "EROFS", "ENAMETOOLONG", "ESTALE", "ENOTEMPTY", "EXDEV", "EMLINK"):
            assert linux_errno(OSError(getattr(errno, name), "")) == getattr(errno, name)
