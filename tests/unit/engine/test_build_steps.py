"""What a COPY is known by, and where its files are looked for."""

from __future__ import annotations

import os
import stat

import pytest

from guest_agent.build.instructions import Copy
from guest_agent.build.parsing import parse_dockerfile
from guest_agent.build.selecting import select
from guest_agent.build.snapshots import Snapshot
from guest_agent.build.state import StageState
from guest_agent.build.trees import ContextTree, Entry
from guest_agent.build.variables import Arguments
from guest_agent.engine.build_files import PlannedCopy, check_target
from guest_agent.engine.build_sources import Batch, Wanted, expand_sources, source_key
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerConfig

START = Snapshot("k", StageState(ContainerConfig(), Arguments({}, {})))


def wanted(text: str) -> Wanted:
    *_, last = parse_dockerfile(f"FROM scratch\n{text}".encode()).stages[0].instructions
    assert isinstance(last, Copy)
    return expand_sources(START, last)


def test_whether_archives_are_taken_apart_is_part_of_the_key() -> None:
    texts = ("ADD a.tar /x/", "ADD --unpack=false a.tar /x/")
    planned = [PlannedCopy(wanted(text), "/x/", "", None, "file:0") for text in texts]
    assert planned[0].comment == planned[1].comment
    assert planned[0].identity != planned[1].identity


def test_heredocs_beside_files_of_a_stage_are_part_of_its_key() -> None:
    texts = (f"COPY --from=x a <<EOF /x/\n{body}\nEOF" for body in ("one", "two"))
    assert len({source_key(wanted(text), ()) for text in texts}) == 2


def test_several_sources_want_a_folder() -> None:
    folder, file = Entry(stat.S_IFDIR | 0o755), Entry(stat.S_IFREG | 0o644)
    entries = {"": folder, "one": folder, "one/a": file, "one/b": file, "two": folder}
    tree = ContextTree(entries, os.memfd_create("content"))
    for sources in (["one", "two"], ["one/*"], ["one/a", "two"]):
        batch = Batch(tree, select(tree, sources))
        with pytest.raises(InvalidArgument, match=r"the destination must be a directory and end with a /$"):
            check_target("COPY", [batch], "/x")
        check_target("COPY", [batch], "/x/")
    check_target("COPY", [Batch(tree, select(tree, ["one"]))], "/x")
    tree.close()
