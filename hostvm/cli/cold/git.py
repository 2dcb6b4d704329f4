"""A git repository as a build's context: `URL#REFERENCE:FOLDER`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile

from guest_agent.wire.git_sources import checkout, split_git_source
from hostvm.cli.failure import Failure


def clone(source: str) -> tuple[str, str]:
    """The folder to remove afterwards, and the one that is the context. Raises Failure."""
    url, reference, inner = split_git_source(source)
    folder = tempfile.mkdtemp(prefix="hostvm-build-")
    try:
        _check_out(folder, url, reference)
        shutil.rmtree(f"{folder}/.git")
        return folder, _inside(folder, inner)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _inside(folder: str, inner: str) -> str:
    place = os.path.realpath(os.path.join(folder, inner))
    if not f"{place}/".startswith(f"{os.path.realpath(folder)}/") or not os.path.isdir(place):
        raise Failure(f"error setting up the context: {inner} isn't a folder of the repository", 1)
    return place


def _check_out(folder: str, url: str, reference: str) -> None:
    steps = checkout(url, reference)
    words = next(steps)
    try:
        while True:
            words = steps.send(_git(folder, *words))
    except StopIteration as end:
        if end.value:
            raise Failure(f"unable to prepare context: unable to 'git clone': {end.value}", 1) from None


def _git(folder: str, *words: str) -> str | None:
    """What it complained of; None where it succeeded."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError:
        raise Failure("unable to find 'git'", 1, "a context that is a repository needs it: install git") from None
    return (done.stderr.strip() or f"git {words[0]} failed") if done.returncode else None
