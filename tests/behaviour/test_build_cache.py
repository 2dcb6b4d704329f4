"""The build cache as docker's users see it: what it takes on the disk, and what a prune takes of it."""

from __future__ import annotations

import json
from urllib.parse import quote

from tests.behaviour.conftest import Project
from tests.behaviour.harness.api import Api
from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.waiting import wait_for

STEPS = """FROM busybox
RUN head -c 3000000 /dev/zero > /big
RUN --mount=type=cache,target=/kept,id=store head -c 5000 /dev/zero > /kept/file
COPY a /a
FROM busybox
COPY --from=0 /a /b
"""
SLOW = """FROM busybox
COPY a /first
RUN --mount=type=cache,target=/kept,id=slow touch /kept/begun && sleep 600
"""


def cached(api: Api) -> dict[str, dict[str, object]]:
    """What each record says, by its description."""
    status, usage = api.call("GET", "/system/df?type=build-cache")
    assert status == 200 and isinstance(usage, dict)
    return {str(record["Description"]): record for record in usage["BuildCache"]}


def summary(machine: Machine) -> list[str]:
    """docker's line; ours is the same."""
    line = machine.docker("system", "df").splitlines()[-1]
    assert machine("system", "df").splitlines()[-1] == line
    return line.split()[2:]


def pruned(api: Api, **filters: list[str]) -> list[str]:
    status, answer = api.call("POST", f"/build/prune?filters={quote(json.dumps(filters))}")
    assert status == 200 and isinstance(answer, dict)
    return answer["CachesDeleted"] or []


def test_what_it_takes_and_what_a_prune_takes(machine: Machine, project: Project) -> None:
    """By records that outlive the engine: images' layers stay without -a, and parents while something needs them."""
    machine("builder", "prune", "-af")
    assert summary(machine) == ["0", "0", "0B", "0B"]
    folder, api = project(STEPS, {"a": "A"}), Api(machine)
    for _ in range(2):
        machine("build", "-t", "cached", folder)
    machine.kill_engine()
    records = cached(api)
    [big] = [record for text, record in records.items() if "/big" in text]
    [copied] = [record for text, record in records.items() if text.endswith(" in /a ")]
    [taken] = [record for text, record in records.items() if text.endswith(" in /b ")]
    kept = records['cached mount /kept with id "store"']
    assert (big["Size"], big["Type"], big["Shared"], big["UsageCount"]) == (3_000_000, "regular", False, 2)
    assert (copied["Parents"], copied["Size"], "Parents" in big) == ([big["ID"]], 1, False)
    assert (taken["Shared"], kept["Size"], kept["Type"]) == (True, 5000, "exec.cachemount")
    assert not any(record["InUse"] for record in records.values()) and len(records) == 4
    assert summary(machine) == ["4", "0", "3.005MB", "3.005MB"]
    assert all(str(record["ID"])[:12] in machine("system", "df", "-v") for record in records.values())

    assert pruned(api, until=["1h"]) == [] == pruned(api, id=[str(big["ID"])])
    complaint = "invalid filter 'color'"
    assert complaint in machine.fails(1, "builder", "prune", "-f", "--filter", "color=red")
    assert machine.docker("builder", "prune", "-f", "--keep-storage", "1g") == "Total reclaimed space: 0B"
    assert pruned(api, type=["exec.cachemount"]) == [kept["ID"]]
    listed = f"Deleted build cache objects:\n{copied['ID']}\n{big['ID']}\n\nTotal reclaimed space: 3MB"
    assert machine("builder", "prune", "-f") == listed
    assert list(cached(api).values()) == [taken]
    machine("rmi", "cached")
    prune = ("system", "prune", "-f", "--filter", "until=0s")  # which is the present second's beginning, as with docker
    wait_for(lambda: str(taken["ID"]) in machine.docker(*prune), "the end of the second of the build")
    assert cached(api) == {}


def test_what_a_build_uses_stays(machine: Machine, project: Project) -> None:
    machine("builder", "prune", "-af")
    api = Api(machine)
    building = machine.start("build", "-t", "slow", project(SLOW, {"a": "A"}))
    mount = 'cached mount /kept with id "slow"'
    wait_for(lambda: mount in cached(api), "the step with the cache")
    assert cached(api)[mount]["InUse"] and summary(machine)[:2] == ["1", "1"]
    assert machine.docker("builder", "prune", "-af") == "Total reclaimed space: 0B"
    assert mount in cached(api)
    building.terminate()
    building.wait()
    unused = [False, False]  # the step that was done is remembered, too
    wait_for(lambda: [record["InUse"] for record in cached(api).values()] == unused, "the end of the build")
    assert len(machine.docker("builder", "prune", "-f").splitlines()) == 5
    assert summary(machine) == ["0", "0", "0B", "0B"]
