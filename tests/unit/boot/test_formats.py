"""What the kernel is told of other architectures' programs."""

from __future__ import annotations

from pathlib import Path

from guest_agent.boot.formats import plan_rule, read_rules


def test_every_rule_of_the_folder_is_taken_and_comments_are_not(tmp_path: Path) -> None:
    (tmp_path / "qemu-b.conf").write_text("# binfmt.d(5)\n\n:b:M::\\x7fELF:\\xff:/usr/bin/b:OPF\n")
    (tmp_path / "qemu-a.conf").write_text(":a:M::\\x7fELF:\\xff:/usr/bin/a:OCF\n")
    assert list(read_rules(str(tmp_path))) == [
        ":a:M::\\x7fELF:\\xff:/usr/bin/a:OCF",
        ":b:M::\\x7fELF:\\xff:/usr/bin/b:OPFC",
    ]


def test_a_c_in_the_emulators_path_is_no_flag() -> None:
    assert plan_rule(":a:M::x:y:/usr/C:F").endswith("/usr/C:FC")
