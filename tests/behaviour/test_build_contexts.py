"""A context that the engine knows by the client's word for it needn't be sent, and nothing wrong comes of it."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from pathlib import Path

from tests.behaviour.conftest import Project
from tests.behaviour.harness.api import Api
from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.waiting import wait_for

PROJECT = "FROM busybox\nCOPY . /whole/\nCOPY inner/a* /inner/\nRUN cat /inner/a > /said\n"


def tar(**files: str) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name.replace("_", "/"))
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return whole.getvalue()


def built(api: Api, path: str, body: bytes) -> tuple[int, str]:
    """Status, and the image's id or the message."""
    response, data = api.ask("POST", f"/v1.44{path}", body)
    records = [json.loads(line) for line in data.splitlines()]
    ids = [str(record["aux"]["ID"]) for record in records if "aux" in record]
    return response.status, ids[-1] if ids else str(records[-1].get("message") or records[-1].get("error"))


def test_only_what_is_cached_is_built_without_its_context(machine: Machine) -> None:
    """Whatever it would have to look at, carry out or fetch makes it a conflict, and leaves no trace."""
    api, refused = Api(machine), (409, "the build isn't in the cache")
    short, other = tar(Dockerfile=PROJECT), tar(Dockerfile=f"{PROJECT}RUN touch /more\n")
    assert built(api, "/hostvm/build?t=known&hostvm-context=k1", short) == refused
    _, image = built(api, "/build?hostvm-context=k1", tar(Dockerfile=PROJECT, inner_a="A"))
    assert built(api, "/hostvm/build?t=known&hostvm-context=k1", short) == (200, image)
    assert machine("run", "--rm", "known", "cat", "/said", "/whole/inner/a") == "AA"
    machine("rmi", "known")

    _, image = built(api, "/build?hostvm-context=k1", tar(Dockerfile=PROJECT, inner_a="A"))
    for query in ("t=x&hostvm-context=k2", "t=x", "t=x&hostvm-context=k1&nocache=1", "t=x&hostvm-context=k1&pull=1"):
        assert built(api, f"/hostvm/build?{query}", short) == refused
    assert built(api, "/hostvm/build?t=x&hostvm-context=k1", other) == refused
    for line in (
        "ADD http://127.0.0.1:9/a /",
        "RUN --mount=type=bind,target=/m true",
        "FROM nobody/has-it",
        "NONSENSE",
    ):
        body = tar(Dockerfile=f"{PROJECT}{line}\n")
        assert built(api, "/hostvm/build?t=x&hostvm-context=k1", body) == refused
    assert machine("images", "-q", "x") == ""

    machine.kill_engine()
    assert built(api, "/hostvm/build?hostvm-context=k1", short) == (200, image)
    machine("builder", "prune", "-af")
    assert built(api, "/hostvm/build?hostvm-context=k1", short) == refused


def test_a_context_that_is_sent_is_looked_at(machine: Machine) -> None:
    """A word that lies has no effect on a build that has its context."""
    api = Api(machine)
    for text in ("A", "B"):
        status, _ = built(api, "/build?t=told&hostvm-context=lie", tar(Dockerfile=PROJECT, inner_a=text))
        assert status == 200
        assert machine("run", "--rm", "told", "cat", "/said") == text


def settle(folder: str) -> None:
    """Until the newest change is old enough for its time to tell of the next one."""
    newest = max(entry.stat().st_ctime for entry in os.scandir(folder))
    wait_for(lambda: time.time() > newest + 2.1, "the clock")


def test_what_changed_is_built_though_size_and_time_are_the_same(machine: Machine, project: Project) -> None:
    folder = project("FROM busybox\nCOPY a /a\n", {"a": "1"})
    file = Path(folder, "a")
    for text in ("1", "2"):
        file.write_text(text)
        os.utime(file, (10, 10))
        settle(folder)
        machine("build", "-t", "same-size", folder)
        assert "Using cache" in machine("build", "-t", "same-size", folder)
        assert machine("run", "--rm", "same-size", "cat", "/a") == text
