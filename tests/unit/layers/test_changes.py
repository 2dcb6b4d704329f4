"""`docker diff` from folders as overlayfs leaves them. Whiteouts are device nodes, so this needs root."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from guest_agent.layers.changes import find_changes

Make = Callable[[str, dict[str, str]], str]
TIME = 1_700_000_000 * 10**9

#: A value in a tree: text of a file, or one of these.
FOLDER, WHITEOUT, OPAQUE = "<folder>", "<whiteout>", "<opaque>"


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`make("upper", {"etc/": FOLDER, "etc/a": "text"})` gives the folder's path; all have one time."""
    if os.geteuid():
        pytest.skip("device nodes need root")

    def build(name: str, tree: dict[str, str]) -> str:
        root = tmp_path / name
        root.mkdir()
        for path, value in tree.items():
            place = root / path
            if value in (FOLDER, OPAQUE):
                place.mkdir(exist_ok=True)
                if value == OPAQUE:
                    os.setxattr(place, "trusted.overlay.opaque", b"y")
            elif value == WHITEOUT:
                os.mknod(place, stat.S_IFCHR, 0)
            else:
                place.write_text(value)
                os.utime(place, ns=(TIME, TIME))
        return str(root)

    return build


BASE = {"etc": FOLDER, "etc/passwd": "root", "etc/group": "root", "bin": FOLDER, "bin/sh": "sh", "file": "file"}


def shown(upper: str, *layers: str) -> list[str]:
    return [f"{'CAD'[change.kind]} {change.path}" for change in find_changes(upper, layers)]


def test_nothing(make: Make) -> None:
    assert shown(make("upper", {}), make("base", BASE)) == []
    assert shown(make("copied-up", {"etc": FOLDER, "etc/passwd": "root"}), make("again", BASE)) == []


def test_parents_of_what_changed(make: Make) -> None:
    upper = make(
        "upper", {"etc": FOLDER, "etc/passwd": "other", "etc/group": WHITEOUT, "new": FOLDER, "new/a": "", "top": ""}
    )
    assert shown(upper, make("base", BASE)) == [
        "C /etc",
        "D /etc/group",
        "C /etc/passwd",
        "A /new",
        "A /new/a",
        "A /top",
    ]


def test_a_change_of_kind_isn_t_looked_into(make: Make) -> None:
    upper = make("upper", {"etc": "a file now", "file": FOLDER, "file/inner": "x"})
    assert shown(upper, make("base", BASE)) == ["C /etc", "C /file", "A /file/inner"]


def test_an_opaque_folder_has_lost_what_was_there(make: Make) -> None:
    upper = make("upper", {"etc": OPAQUE, "etc/passwd": "root", "etc/added": "x"})
    assert shown(upper, make("base", BASE)) == ["C /etc", "A /etc/added", "D /etc/group"]


def test_layers_hide_each_other(make: Make) -> None:
    middle = make("middle", {"etc": FOLDER, "etc/passwd": WHITEOUT, "bin": OPAQUE, "file": WHITEOUT})
    upper = make(
        "upper",
        {"etc": FOLDER, "etc/passwd": "root", "bin": FOLDER, "bin/sh": "sh", "file": WHITEOUT, "etc/group": "root"},
    )
    assert shown(upper, middle, make("base", BASE)) == ["C /bin", "A /bin/sh", "C /etc", "A /etc/passwd"]


def test_what_the_runtime_needs_isn_t_the_container_s(make: Make) -> None:
    own = {"dev": FOLDER, "dev/pts": FOLDER, "proc": FOLDER, "etc": FOLDER, "etc/hosts": "", "etc/mine": "x"}
    assert shown(make("upper", own), make("base", {})) == ["C /etc", "A /etc/mine"]


def test_owner_and_mode_count(make: Make) -> None:
    upper, base = make("upper", BASE), make("base", BASE)
    os.chmod(f"{upper}/bin", 0o700)
    os.chown(f"{upper}/file", 1000, 0)
    assert shown(upper, base) == ["C /bin", "C /file"]
