"""What BuildKit's clients build with: a folder, and an ssh agent."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.behaviour.harness.waiting import wait_for


def fill_context(folder: Path, dockerfile: str) -> None:
    """A file in a folder, and one that is left out; neither the Dockerfile nor .dockerignore is copied."""
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / "folder").mkdir()
    (folder / "folder" / "file").write_bytes(b"content" * 100_000)
    (folder / "left").write_text("out")
    (folder / ".dockerignore").write_text("left\nDockerfile\n.dockerignore\n")


@contextmanager
def agent_at(place: Path) -> Iterator[None]:
    """An agent without keys."""
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", place], stdout=subprocess.DEVNULL)
    try:
        wait_for(place.exists, "the agent's socket")
        yield
    finally:
        agent.terminate()  # then it removes its socket
        agent.wait()
