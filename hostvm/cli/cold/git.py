"""A git repository as a build's context: `URL#REFERENCE:FOLDER`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile

from hostvm.cli.failure import Failure


def clone(source: str) -> tuple[str, str]:
    """The folder to remove afterwards, and the one that is the context. Raises Failure."""
    url, _, fragment = source.partition("#")
    reference, _, inner = fragment.partition(":")
    url = f"https://{url}" if url.startswith("github.com/") else url
    folder = tempfile.mkdtemp(prefix="hostvm-build-")
    try:
        _git(folder, "init", "--quiet", ".")
        _git(folder, "fetch", "--quiet", "--depth=1", "--", url, reference or "HEAD")
        _git(folder, "checkout", "--quiet", "FETCH_HEAD")
        if os.path.exists(f"{folder}/.gitmodules"):
            _git(folder, "submodule", "update", "--init", "--recursive", "--depth=1")
        shutil.rmtree(f"{folder}/.git")
        return folder, _inside(folder, inner)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _inside(folder: str, inner: str) -> str:
    place = os.path.realpath(os.path.join(folder, inner.strip("/")))
    if not f"{place}/".startswith(f"{os.path.realpath(folder)}/") or not os.path.isdir(place):
        raise Failure(f"error setting up the context: {inner} isn't a folder of the repository", 1)
    return place


def _git(folder: str, *words: str) -> None:
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError:
        raise Failure("unable to find 'git'", 1, "a context that is a repository needs it: install git") from None
    if done.returncode:
        raise Failure(f"unable to prepare context: unable to 'git clone': {done.stderr.strip()}", 1)
