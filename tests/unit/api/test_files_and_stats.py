"""/archive, /changes and /stats over the socket."""

from __future__ import annotations

import base64
import json

from guest_agent.engine.requests import ExtractRequest
from tests.unit.api.conftest import Api


def test_what_is_at_a_path(api: Api) -> None:
    api.create()
    answer = api.ask("HEAD", "/containers/web/archive?path=/etc")
    told = json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"]))
    assert answer.status == 200 and answer.read() == b""
    assert told == {
        "name": "etc", "size": 4096, "mode": 2147484141, "mtime": "2023-11-14T22:13:20Z", "linkTarget": "",
    }  # fmt: skip
    fetched = api.ask("GET", "/containers/web/archive?path=/etc")
    assert (fetched.headers["Content-Type"], fetched.read()) == ("application/x-tar", b"tar")
    assert "X-Docker-Container-Path-Stat" in fetched.headers


def test_archive_errors(api: Api) -> None:
    api.create()
    place = "/containers/web/archive"
    assert api.message("GET", place) == (400, "bad parameter: 'path' cannot be empty")
    assert api.message("GET", f"{place}?path=/missing") == (404, "Could not find the file /missing in container web")
    assert api.ask("HEAD", f"{place}?path=/missing").status == 404


def test_extract(api: Api) -> None:
    api.create()
    answer = api.ask("PUT", "/containers/web/archive?path=/tmp&noOverwriteDirNonDir=true&copyUIDGID=1", b"a tar")
    assert (answer.status, answer.read()) == (200, b"")
    assert api.engine.files.extracted == [(ExtractRequest("web", "/tmp", True, True), b"a tar")]


def test_changes(api: Api) -> None:
    api.create()
    status, changes = api.call("GET", "/containers/web/changes")
    assert status == 200
    assert changes == [
        {"Path": "/etc", "Kind": 0}, {"Path": "/etc/new", "Kind": 1}, {"Path": "/gone", "Kind": 2},
    ]  # fmt: skip


def test_stats_of_a_stopped_container(api: Api) -> None:
    identity = api.create()
    status, told = api.call("GET", "/containers/web/stats?stream=false")
    assert status == 200 and isinstance(told, dict)
    assert (told["name"], told["id"], told["read"]) == ("/web", identity, "0001-01-01T00:00:00Z")
    assert (told["memory_stats"], told["pids_stats"], "networks" in told) == ({}, {}, False)
    assert told["blkio_stats"]["io_service_bytes_recursive"] is None
    assert told["cpu_stats"] == told["precpu_stats"] and "system_cpu_usage" not in told["cpu_stats"]


def test_stats_of_a_running_one(api: Api) -> None:
    api.create(Cmd=["sleep"])
    api.call("POST", "/containers/web/start")
    _, told = api.call("GET", "/containers/web/stats", stream="0")
    assert isinstance(told, dict)
    assert told["cpu_stats"]["cpu_usage"]["total_usage"] == told["precpu_stats"]["cpu_usage"]["total_usage"] + 1
    assert told["memory_stats"] == {"usage": 1000, "limit": 4096, "stats": {"cache": 1}}
    assert (told["networks"]["eth0"]["tx_dropped"], told["pids_stats"]) == (8, {"current": 2})
    _, once = api.call("GET", "/containers/web/stats?stream=false&one-shot=true")
    assert isinstance(once, dict) and once["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert api.message("GET", "/containers/web/stats?one-shot=1") == (
        400,
        "cannot have stream=true and one-shot=true",
    )


def test_a_stream_of_stats_compares_each_with_the_one_before(api: Api) -> None:
    api.create(Cmd=["sleep"])
    api.call("POST", "/containers/web/start")
    frames = [json.loads(line) for line in api.ask("GET", "/containers/web/stats").read().splitlines()]
    assert [frame["preread"] for frame in frames[1:]] == [frame["read"] for frame in frames[:-1]]
    assert frames[0]["preread"] == "0001-01-01T00:00:00Z" and len(frames) == 3
