"""What `build` sends, and when it is enough to ask the cache."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from guest_agent.wire.errors import Conflict
from hostvm.cli import build_body
from hostvm.cli.build_context import end, pack_file
from hostvm.cli.builds import build
from hostvm.cli.failure import Failure
from hostvm.cli.main import Context
from hostvm.cli.parse import parse
from hostvm.cli.table import load


class FakeEngine:
    """Has the build in its cache, or hasn't; `sent` is what it got: (path, names in the tar)."""

    answer = b'{"aux":{"ID":"sha256:1"}}\n'

    def __init__(self, cached: bool, known: bool = True) -> None:
        self._cached = cached
        self._known = known
        self.sent: list[tuple[str, list[str]]] = []

    def send_archive(self, _method: str, path: str, body: Iterator[bytes], _headers: str = "") -> FakeEngine:
        with tarfile.open(fileobj=io.BytesIO(b"".join(body))) as archive:
            self.sent.append((path.partition("?")[0], archive.getnames()))
        assert ("hostvm-context=known" in path) == self._known
        if (path.startswith("/hostvm/build?") or "hostvm-cached=1" in path) and not self._cached:
            raise Conflict("the build isn't in the cache")
        return self

    def chunks(self) -> Iterator[bytes]:
        yield self.answer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(build_body, "fingerprint", lambda _context: "known")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    project = tmp_path / "project"
    (project / "inner").mkdir(parents=True)
    (project / "inner" / "Dockerfile").write_text("FROM scratch\n")
    (project / "file").touch()
    return str(project)


def sent(engine: FakeEngine, *words: str) -> list[tuple[str, list[str]]]:
    assert build(cast(Context, SimpleNamespace(engine=engine)), parse(load("build"), list(words))) == 0
    return engine.sent


def test_a_build_from_the_cache_sends_the_dockerfile_alone(folder: str) -> None:
    words = ("--file", f"{folder}/inner/Dockerfile", folder)
    short, whole = ("/hostvm/build", ["inner/Dockerfile"]), ("/build", ["file", "inner", "inner/Dockerfile"])
    assert sent(FakeEngine(cached=True), *words) == [short]
    assert sent(FakeEngine(cached=False), *words) == [short, whole]
    assert sent(FakeEngine(cached=True), "--no-cache", *words) == [whole]
    assert sent(FakeEngine(cached=True), "--pull", *words) == [whole]


def test_a_build_for_files_asks_for_them(folder: str, tmp_path: Path) -> None:
    words = ("--file", f"{folder}/inner/Dockerfile", "-o", f"type=tar,dest={tmp_path}/out", folder)
    engine = FakeEngine(cached=False)
    engine.answer += b'{"files":"tar"}\nThe tar.'
    assert [path for path, _names in sent(engine, *words)] == ["/hostvm/build/files"] * 2
    assert (tmp_path / "out").read_bytes() == b"The tar."


def test_further_contexts_go_beside_any_context(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words, extra = ("--build-context", f"extra={folder}/inner"), "named/extra/Dockerfile"

    def names(source: str, stdin: bytes = b"") -> list[str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        return sent(FakeEngine(cached=True, known=False), *words, source)[0][1]

    assert names("http://there/Dockerfile") == [extra]
    assert names("-", b"FROM scratch") == ["dockerfile", extra]
    assert names("-", pack_file("Dockerfile", b"FROM scratch") + end()) == [
        "context.tar/00000000",
        "context.tar/00000001",
        extra,
    ]


def test_secrets_are_sent_in_any_case(folder: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    words = ("--file", f"{tmp_path}/Dockerfile", "--secret", f"id=s,src={tmp_path}/Dockerfile", folder)
    assert sent(FakeEngine(cached=True), *words) == [("/hostvm/build", ["dockerfile", "secret/s"])]


def test_where_the_dockerfile_is_looked_for(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As seen from here, else from the context; by default in lower case, too."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Failure) as missing:
        sent(FakeEngine(cached=True), folder)
    assert missing.value.text.endswith("no such file or directory\nhint: write one, or name it with -f")
    Path(folder, "dockerfile").write_text("FROM scratch\n")
    for words, name in (((), "dockerfile"), (("-f", "inner/Dockerfile"), "inner/Dockerfile")):
        assert sent(FakeEngine(cached=True), *words, folder) == [("/hostvm/build", [name])]
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "Dockerfile").write_text("FROM scratch\n")
    [(_path, names)] = sent(FakeEngine(cached=True), "-f", "inner/Dockerfile", folder)
    assert names == ["dockerfile"], "it isn't in the context, and goes beside it"
