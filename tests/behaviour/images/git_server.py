"""`git daemon` on loopback, with a repository that builds, and one that it has as a submodule."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from types import TracebackType

from tests.behaviour.images.registry_process import free_port, wait_until_it_listens

_AUTHOR = ("-c", "user.name=n", "-c", "user.email=a@b")


class GitServer:
    """`with GitServer(folder) as server: … f"{server.url}/app.git#v1:sub"`; `bare` is for a web server of files only.

    app.git: `v1` has the file `old` and the folder `sub`; `main` has `new` beside them and the submodule `inner`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"git://127.0.0.1:{self._port}"
        self.bare = folder / "served"
        self.bare.mkdir(parents=True)
        self._make_repositories()

    def __enter__(self) -> GitServer:
        argv = ["git", "daemon", "--listen=127.0.0.1", f"--port={self._port}", "--export-all", "--informative-errors"]
        self._process = subprocess.Popen(
            [*argv, f"--base-path={self.bare}", os.fspath(self.bare)], start_new_session=True, stderr=subprocess.DEVNULL
        )
        wait_until_it_listens(self._port)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()

    def _make_repositories(self) -> None:
        inner, app = self._folder / "inner", self._folder / "app"
        self._commit(inner, {"deep": "deep"})
        self._publish(inner, "inner.git")
        dockerfile = "FROM busybox\nCOPY . /c\nWORKDIR /c\nCMD find . -type f | sort"
        self._commit(app, {"Dockerfile": dockerfile, "old": "1", "sub/Dockerfile": dockerfile, "sub/part": "2"})
        _git(app, "tag", "v1")
        url = f"{self.url}/inner.git"
        (app / ".gitmodules").write_text(f'[submodule "inner"]\n\tpath = inner\n\turl = {url}\n')
        head = _git(inner, "rev-parse", "HEAD")
        _git(app, "update-index", "--add", "--cacheinfo", f"160000,{head},inner")
        self._commit(app, {"new": "3"})
        self._publish(app, "app.git")

    def lead_submodule_to(self, url: str) -> None:
        """In a further commit on app.git's `main`."""
        app = self._folder / "app"
        _git(app, "config", "--file", ".gitmodules", "submodule.inner.url", url)
        _git(app, *_AUTHOR, "commit", "-q", "-m", "elsewhere", ".gitmodules")
        _git(app, "push", "-q", f"{self.bare}/app.git", "main")

    def _commit(self, place: Path, files: dict[str, str]) -> None:
        if not place.exists():
            place.mkdir()
            _git(place, "init", "-q", "-b", "main")
        for name, text in files.items():
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_text(text)
        _git(place, "add", *files, *([".gitmodules"] if (place / ".gitmodules").exists() else []))
        _git(place, *_AUTHOR, "commit", "-q", "-m", "more")

    def _publish(self, place: Path, name: str) -> None:
        _git(place, "clone", "-q", "--bare", ".", f"{self.bare}/{name}")
        _git(self.bare / name, "update-server-info")


def _git(place: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=place, check=True, capture_output=True, text=True)
    return done.stdout.strip()
