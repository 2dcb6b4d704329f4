"""Client programs that aren't installed: Debian trixie's docker, buildx and compose, and those from npm.

`python -m tests.behaviour.clients.programs` fetches what is missing into `.cache/clients`. apt checks the packages of
trixie by the archive's signature, in folders of its own: the machine's apt knows nothing of them. They are unpacked,
not installed. npm's are pinned by tests/data/npm/package-lock.json.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable

from tests.behaviour.harness.images import ROOT
from vm_images.debian.repositories import PUBLIC_ARCHIVE

CACHE = f"{ROOT}/.cache/clients"
PACKAGES = ("docker-cli", "docker-buildx", "docker-compose")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
NPM = f"{ROOT}/tests/data/npm"


def trixie_folder(packages: tuple[str, ...]) -> str:
    """Another folder for other packages."""
    return f"{CACHE}/trixie-{hashlib.sha256(' '.join(packages).encode()).hexdigest()[:16]}"


TRIXIE = trixie_folder(PACKAGES)
#: The docker command line 26, and the folder of its plugins: buildx and compose.
DOCKER_26 = f"{TRIXIE}/usr/bin/docker"
PLUGINS = f"{TRIXIE}/usr/libexec/docker/cli-plugins"
COMPOSE_2 = f"{PLUGINS}/docker-compose"
#: Debian's compose of today, in Python.
COMPOSE_1 = "/usr/bin/docker-compose"


def node_modules() -> str:
    """Another folder for other versions."""
    with open(f"{NPM}/package-lock.json", "rb") as lock:
        digest = hashlib.file_digest(lock, "sha256").hexdigest()[:16]
    return f"{CACHE}/npm-{digest}/node_modules"


def fetch_missing() -> None:
    """MUST be called before this process leaves the host's network. Others wait meanwhile."""
    os.makedirs(CACHE, exist_ok=True)
    with open(f"{CACHE}/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _fetch(TRIXIE, _fetch_trixie)
        _fetch(os.path.dirname(node_modules()), _fetch_npm)


def _fetch(folder: str, fetch: Callable[[str], None]) -> None:
    """Half a folder never gets the name."""
    if os.path.isdir(folder):
        return
    unfinished = f"{folder}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    os.makedirs(unfinished)
    fetch(unfinished)
    os.rename(unfinished, folder)


def _fetch_trixie(folder: str) -> None:
    apt = f"{folder}/apt"
    for place in ("lists/partial", "cache/archives/partial"):
        os.makedirs(f"{apt}/{place}")
    with open(f"{apt}/sources.list", "w", encoding="ascii") as sources:
        sources.write(f"deb [signed-by={KEYRING}] {PUBLIC_ARCHIVE} trixie main\n")
    settings = {
        "Dir::Etc::sourcelist": f"{apt}/sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": f"{apt}/lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": f"{apt}/cache",
        "APT::Sandbox::User": "root",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    subprocess.run(["apt-get", *options, "-qq", "update"], check=True)
    subprocess.run(["apt-get", *options, "-qq", "download", *PACKAGES], cwd=folder, check=True)
    for package in glob.glob(f"{folder}/*.deb"):
        subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
        os.unlink(package)
    shutil.rmtree(apt)


def _fetch_npm(folder: str) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(f"{NPM}/{name}", folder)
    # No package's own scripts: native parts (of ssh, for one) are optional, and none is needed here.
    words = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(["npm", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    fetch_missing()
