"""What the Dockerfile reference says of flags that few use; a RUN tells what came of them."""

from __future__ import annotations

from pathlib import Path

from tests.behaviour.conftest import Project
from tests.behaviour.harness.machine import Machine

COPYING = """
FROM busybox
RUN mkdir /real && ln -s /real /way && ln -s /real /name
COPY --link a /way/to/
COPY --link a /name
COPY --chmod=u=rwX,go=rX sub /modes
RUN ls -A /real | wc -l && cat /way/to/a /name && stat -c %a /modes /modes/b
"""
MOUNTING = """
FROM busybox AS first
RUN mkdir /d && echo begun > /d/file && chown 7:8 /d && chmod 711 /d
FROM busybox
RUN --mount=type=cache,id=flags,target=/c,from=first,source=/d cat /c/file && stat -c '%u:%g %a' /c && echo on > /c/file
RUN --mount=type=cache,id=flags,target=/other,from=first,source=/d cat /other/file
RUN --mount=type=cache,id=flags,target=/c ls -A /c | wc -l
RUN --mount=type=cache,id=flags,target=/c,uid=5,mode=700 stat -c '%u:%g %a' /c
RUN --mount=type=tmpfs,target=/t,size=1mb df -k /t | awk 'END { print $2 }'
"""


def shown(machine: Machine, folder: str) -> list[str]:
    """What the steps have said."""
    words = machine("build", "--no-cache", folder).split("\n")
    return [line.strip() for line in words if not line.startswith(("Step ", " --->", "Successfully "))]


def test_copies(machine: Machine, project: Project) -> None:
    folder = project(COPYING, {"a": "A\n", "sub/b": "B"})
    assert shown(machine, folder) == ["0", "A", "A", "755", "644"]


def test_mounts(machine: Machine, project: Project) -> None:
    assert shown(machine, project(MOUNTING)) == ["begun", "7:8 711", "on", "0", "5:0 700", "1024"]
    machine("builder", "prune", "-af")


def test_a_quiet_build_that_fails(machine: Machine, project: Project, tmp_path: Path) -> None:
    """It says why, with the command's code, and no id of an earlier build stays."""
    folder, identity = project("FROM busybox\nRUN echo why; exit 3"), tmp_path / "id"
    identity.write_text("sha256:stale")
    assert "\nwhy\n" in machine.fails(3, "build", "-q", "--iidfile", str(identity), folder)
    assert not identity.exists()


def test_a_volumes_folder_is_there(machine: Machine, project: Project) -> None:
    """dockerd mounts a volume for each step of the classic builder, and much that is built relies on it."""
    folder = project("FROM busybox\nVOLUME /new\nRUN chown 7 /new\nRUN ls -A /new | wc -l; echo 1 > /new/file")
    assert shown(machine, folder) == ["0"]
