"""`stats`: docker's arithmetic, the table, and who is asked for what."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from hostvm.cli.render.stats_view import cpu_percentage, memory_percentage, memory_used
from tests.unit.cli.conftest import Outcome, Start
from tests.unit.cli.fake_engine import Reply

RECORD = {
    "name": "/web",
    "id": "c0ffee" + "0" * 58,
    "cpu_stats": {"cpu_usage": {"total_usage": 300}, "system_cpu_usage": 2000, "online_cpus": 4},
    "precpu_stats": {"cpu_usage": {"total_usage": 100}, "system_cpu_usage": 1000},
    "memory_stats": {"usage": 3 << 20, "limit": 8 << 20, "stats": {"total_inactive_file": 1 << 20}},
    "networks": {"eth0": {"rx_bytes": 1000, "tx_bytes": 20}, "eth1": {"rx_bytes": 500, "tx_bytes": 0}},
    "blkio_stats": {
        "io_service_bytes_recursive": [
            {"op": "Read", "value": 4096}, {"op": "write", "value": 12_000_000}, {"op": "Total", "value": 9},
        ]
    },
    "pids_stats": {"current": 7},
}  # fmt: skip
STOPPED = {"name": "/old", "id": "dead" + "0" * 60, "memory_stats": {}, "pids_stats": {}, "cpu_stats": {}}


def test_percentages() -> None:
    assert cpu_percentage(dict(RECORD)) == 80.0
    assert cpu_percentage({"cpu_stats": {"cpu_usage": {"total_usage": 5, "percpu_usage": [1, 4]}}}) == 0.0
    per_cpu = {"cpu_usage": {"total_usage": 5, "percpu_usage": [1, 4]}, "system_cpu_usage": 10}
    assert cpu_percentage({"cpu_stats": per_cpu}) == 100.0
    assert (memory_used(dict(RECORD)), memory_percentage(dict(RECORD))) == (2 << 20, 25.0)
    assert memory_used({"memory_stats": {"usage": 5, "stats": {"inactive_file": 2}}}) == 3
    assert memory_used({"memory_stats": {"usage": 5, "stats": {"inactive_file": 9}}}) == 5
    assert memory_percentage({}) == 0.0


def test_the_table(start_engine: Start, hostvm: Callable[..., Outcome]) -> None:
    start_engine(replies={"GET /containers/web/stats": Reply(RECORD), "GET /containers/old/stats": Reply(STOPPED)})
    outcome = hostvm("stats", "--no-stream", "web", "old")
    assert outcome.out == (
        "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O       BLOCK I/O      PIDS\n"
        "c0ffee000000   web       80.00%    2MiB / 8MiB         25.00%    1.5kB / 20B   4.1kB / 12MB   7\n"
        "dead00000000   old       0.00%     0B / 0B             0.00%     0B / 0B       0B / 0B        0\n"
    )
    assert hostvm("stats", "--no-stream", "--no-trunc", "--format", "{{.Container}} {{.ID}}", "web").out == (
        f"web {RECORD['id']}\n"
    )


def test_every_refusal_is_told(start_engine: Start, hostvm: Callable[..., Outcome]) -> None:
    missing = Reply({"message": "No such container: x"}, 404)
    start_engine(replies={"GET /containers/x/stats": missing, "GET /containers/web/stats": Reply(RECORD)})
    outcome = hostvm("stats", "--no-stream", "x", "web", "x")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "Error response from daemon: No such container: x\n" * 2
    assert hostvm("stats", "x").err == "Error response from daemon: No such container: x\n"


@pytest.mark.parametrize(("words", "query"), [((), ""), (("-a",), "?all=1")])
def test_without_names_it_asks_for_all(
    words: tuple[str, ...], query: str, start_engine: Start, hostvm: Callable[..., Outcome]
) -> None:
    engine = start_engine(
        replies={
            "GET /containers/json": Reply([{"Id": RECORD["id"]}]),
            "GET /containers/c0ffee000000/stats": Reply(RECORD),
        }
    )
    assert hostvm("stats", "--no-stream", "--format", "{{.Name}}", *words).out == "web\n"
    assert engine.requests[0].path.endswith(f"/containers/json{query}")


def test_a_stream_that_ends_leaves_a_last_picture(start_engine: Start, hostvm: Callable[..., Outcome]) -> None:
    start_engine(replies={"GET /containers/web/stats": Reply(json.dumps(RECORD).encode() + b"\n", chunked=True)})
    outcome = hostvm("stats", "--format", "{{.Name}} {{.CPUPerc}}", "web")
    assert outcome.code == 0
    assert outcome.out.startswith("\x1b[2J\x1b[H") and outcome.out.endswith("web --\x1b[K\n\x1b[J")
