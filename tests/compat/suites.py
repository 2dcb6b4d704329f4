"""The suites: where each comes from, and how it is run. All are fetched by `fetch`, none is kept in this repository."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

CACHE = ".cache/compat"
#: What the suites need besides the packages that they test. A hanging test is a failed one.
RUNNERS = (
    "pytest",
    "pytest-asyncio",
    "pytest-timeout",
    "hatchling",
    "hatch-vcs",
    "setuptools<81",  # the last with pkg_resources, which old sdists build with
    "setuptools_scm",
    "wheel",
)

#: Of testcontainers.
_LEFT_OUT = ("compose", "config", "core_registry", "docker_in_docker", "ryuk", "socat")


@dataclass(frozen=True, slots=True)
class Suite:
    """`source` is the sdist on PyPI that has the tests, `packages` what is installed to run them.

    `tests` are pytest's arguments, from the sdist's folder. `module` is what is tested: the installed one, so the
    sdist's, in that folder, is removed. `debian` says that it is Debian's. `environment` is the tests' own.
    """

    name: str
    module: str
    source: str
    packages: tuple[str, ...]
    tests: tuple[str, ...]
    debian: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        return os.path.abspath(f"{CACHE}/{self.name}")

    @property
    def python(self) -> str:
        return f"{self.folder}/venv/bin/python"


SUITES = {
    suite.name: suite
    for suite in (
        # The sdists of docker 7 have no tests; those of 6.1.3 are run with the library of today. Left out: what needs a
        # swarm or plugins, and the tests of credential helpers, which have no engine and spoil os.environ for others.
        Suite(
            "docker-py",
            "docker",
            "docker==6.1.3",
            ("docker[websockets]==7.1.0", "paramiko"),
            (
                "-o",
                "addopts=",
                *(
                    f"--ignore-glob=tests/integration/{pattern}"
                    for pattern in ("credentials", "*swarm*", "*service*", "*node*", "*secret*", "*config*", "*plugin*")
                ),
                "tests/integration",
            ),
        ),
        Suite(
            "aiodocker",
            "aiodocker",
            "aiodocker==0.27.0",
            ("aiodocker==0.27.0", "testcontainers==4.14.2", "async-timeout", "asyncssh", "paramiko"),
            # Warnings of newer libraries are none of the engine's business; ssh and swarm aren't either.
            ("-o", "addopts=", "-o", "filterwarnings=", "--ignore=tests/test_ssh.py", "tests"),
        ),
        # What it asks of other libraries is too old for pip today; Debian's runs with those of Debian. The tests start
        # `docker-compose`, too. Left out: what has no engine (contexts, which clear HOME; reports to Docker Desktop).
        Suite(
            "docker-compose",
            "compose",
            "docker-compose==1.29.2",
            ("ddt", "mock"),
            (
                *("-o", "addopts="),
                *("--ignore=tests/acceptance/context_test.py", "--ignore=tests/integration/metrics_test.py"),
                *("tests/acceptance", "tests/integration"),
            ),
            debian=True,
        ),
        # Left out: what needs docker in docker, programs that only the hub has or compose v2's command line; and the
        # tests of its settings, which have no engine and spoil os.environ for others.
        Suite(
            "testcontainers",
            "core/testcontainers",
            "testcontainers==4.14.2",
            ("testcontainers==4.14.2", "pytest-mock", "tomli", "paramiko"),
            (
                *("-o", "addopts=", "-o", "log_cli=false"),
                *(f"--ignore=core/tests/test_{what}.py" for what in _LEFT_OUT),
                "core/tests",
            ),
            environment={"TESTCONTAINERS_RYUK_DISABLED": "true"},
        ),
    )
}


def fetch(suite: Suite) -> None:
    """Makes the suite's folder: an environment, and the unpacked sdist. Once it is complete it stays."""
    done = f"{suite.folder}/fetched"
    if os.path.exists(done):
        return
    options = ["--clear", *(["--system-site-packages"] if suite.debian else [])]
    subprocess.run([sys.executable, "-m", "venv", *options, f"{suite.folder}/venv"], check=True)
    _pip(suite, "install", *RUNNERS, *suite.packages)
    # Its metadata is made by its own build system, which is already there: no second download of it.
    package = suite.source.partition("==")[0]
    _pip(
        suite, "download", "--no-deps", "--no-build-isolation", "--no-binary", package, "-d", suite.folder, suite.source
    )
    (archive,) = glob.glob(f"{suite.folder}/{package}-*.tar.gz")
    subprocess.run(["tar", "-C", suite.folder, "-xf", archive], check=True)
    shutil.rmtree(f"{source_folder(suite)}/{suite.module}")
    with open(done, "w", encoding="ascii"):
        pass


def source_folder(suite: Suite) -> str:
    (folder,) = glob.glob(f"{suite.folder}/{suite.source.replace('==', '-')}")
    return folder


def command(suite: Suite, report: str, more: Sequence[str]) -> list[str]:
    """The argv that runs the suite and writes a JUnit report."""
    limits = ["--tb=no", "--timeout=90", "--timeout-method=signal", "-p", "no:cacheprovider"]
    return [suite.python, "-m", "pytest", "-q", *limits, f"--junitxml={report}", *suite.tests, *more]


def _pip(suite: Suite, *words: str) -> None:
    path = f"{suite.folder}/venv/bin:{os.environ['PATH']}"
    argv = [suite.python, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    subprocess.run(argv, check=True, env={**os.environ, "PATH": path})


if __name__ == "__main__":
    for each in SUITES.values():
        fetch(each)
