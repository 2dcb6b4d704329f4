"""The folder that BuildKit's clients build."""

from __future__ import annotations

from pathlib import Path


def fill_context(folder: Path, dockerfile: str) -> None:
    """A file in a folder, and one that is left out; neither the Dockerfile nor .dockerignore is copied."""
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / "folder").mkdir()
    (folder / "folder" / "file").write_bytes(b"content" * 100_000)
    (folder / "left").write_text("out")
    (folder / ".dockerignore").write_text("left\nDockerfile\n.dockerignore\n")
