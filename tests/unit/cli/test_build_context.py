"""Which files of a folder are sent."""

from __future__ import annotations

from pathlib import Path

from hostvm.cli.build_context import Context


def test_what_the_engine_reads_is_sent_though_it_is_ignored(tmp_path: Path) -> None:
    """A Dockerfile may be in a folder that is left out, with ignore rules of its own that leave them out, too."""
    (tmp_path / "deploy/other").mkdir(parents=True)
    for name in ("Dockerfile", "Dockerfile.dockerignore", "secret", "other/file"):
        (tmp_path / "deploy" / name).touch()
    rules = tmp_path / "deploy/Dockerfile.dockerignore"
    rules.write_text("*\n")
    wanted = ("deploy/Dockerfile", "deploy/Dockerfile.dockerignore", ".dockerignore")
    context = Context(str(tmp_path), str(rules), wanted)
    assert [path for _place, path in context.entries()] == list(wanted[:2])
    assert [path for _place, path in context.needed()] == list(wanted[:2])
