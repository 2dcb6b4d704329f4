"""The command line as a process, and as a call."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hostvm.cli.main import run
from tests.unit.cli.fake_engine import FakeEngine, Peer, Reply

Start = Callable[..., FakeEngine]


@pytest.fixture
def start_engine(tmp_path: Path) -> Iterator[Start]:
    """Starts a fake engine: `start_engine(scene=…, replies={…})`."""
    with ExitStack() as stack:

        def start(scene: Callable[[Peer], None] | None = None, replies: dict[str, Reply] | None = None) -> FakeEngine:
            return stack.enter_context(FakeEngine(tmp_path / "engine.sock", replies, scene))

        yield start


class Outcome:
    """What a command printed and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    def __repr__(self) -> str:
        return f"exit {self.code}\n--out\n{self.out}--err\n{self.err}"


@pytest.fixture
def hostvm(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs a command in this process, before the engine of `start_engine`."""

    def call(*words: str) -> Outcome:
        capfd.readouterr()
        code = run(["-H", f"unix://{tmp_path}/engine.sock", *words])
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


def argv(socket: Path, *words: str) -> list[str]:
    """The command line as the launcher starts it."""
    root = Path(__file__).parents[3]
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from hostvm.cli.main import main; main()"
    return [sys.executable, "-I", "-c", code, str(root), "-H", f"unix://{socket}", *words]


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command as a process of its own."""

    def call(*words: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv(tmp_path / "engine.sock", *words), input=input, capture_output=True, text=True, timeout=20,
            stdin=subprocess.DEVNULL if input is None else None,
        )  # fmt: skip

    return call
