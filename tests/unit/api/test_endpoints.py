"""Docker's endpoints over a real socket, with an engine in memory."""

from __future__ import annotations

import base64
import json
import socket
import struct
import time
from dataclasses import replace

import pytest

from guest_agent.api.top import select_rows
from guest_agent.engine.requests import Sizes
from guest_agent.wire.errors import NotFound
from guest_agent.wire.models import ContainerId
from tests.unit.api.conftest import Api
from tests.unit.api.fake_engine import BUSYBOX
from tests.unit.http.serving import receive_all, receive_until


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_ping(api: Api, method: str) -> None:
    answer = api.ask(method, "/_ping")
    assert answer.read() == (b"OK" if method == "GET" else b"")
    wanted = {"Api-Version": "1.44", "Ostype": "linux", "Docker-Experimental": "false", "Pragma": "no-cache"}
    assert {name: answer.headers[name] for name in wanted} == wanted
    assert "Builder-Version" in answer.headers and "no-store" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/v1.44/version", 200, None),
        ("/v1.24/version", 200, None),
        ("/v1.45/version", 400, "client version 1.45 is too new. Maximum supported API version is 1.44"),
        ("/v1.23/version", 400, "client version 1.23 is too old. Minimum supported API version is 1.24, "
                                "please upgrade your client to a newer version"),
        ("/v1.44/nosuch", 404, "page not found"),
        ("/", 404, "page not found"),
        ("/vX/version", 404, "page not found"),
    ],
)  # fmt: skip
def test_versions_and_unknown_pages(api: Api, path: str, status: int, message: str | None) -> None:
    found, answer = api.call("GET", path)
    assert found == status and isinstance(answer, dict) and answer.get("message") == message


def test_info_for_the_oldest_clients(api: Api) -> None:
    _, old = api.call("GET", "/v1.24/info")
    _, present = api.call("GET", "/v1.25/info")
    assert isinstance(old, dict) and isinstance(present, dict) and "ExecutionDriver" not in present
    assert (old["ExecutionDriver"], old["SecurityOptions"]) == ("<not supported>", ["seccomp"])


def test_a_wrong_method_is_an_unknown_page(api: Api) -> None:
    assert api.message("DELETE", "/version") == (404, "page not found")
    assert api.call("OPTIONS", "/")[0] == 200


def test_errors_carry_kind_and_hint_beside_dockers_message(api: Api) -> None:
    assert api.call("GET", "/containers/nosuch/json") == (
        404,
        {"message": "No such container: nosuch", "kind": "not-found", "hint": ""},
    )
    assert api.message("POST", "/auth", {})[0] == 401


def test_a_bug_is_one_line_and_the_connection_lives(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    api.engine.system.info = None  # type: ignore[method-assign, assignment]
    status, message = api.message("GET", "/info")
    assert status == 500 and "\n" not in message
    assert "TypeError" in caplog.text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "invalid JSON: "),
        (b"[]", "invalid JSON: json: cannot unmarshal array into a Go value of type object"),
        (b"", "invalid JSON: got EOF while reading request body"),
        (b"{}", "config cannot be empty in order to create a container"),
        (b'{"Image": 5}', "invalid JSON: json: cannot unmarshal number into Go struct field Image of type string"),
        (b'{"Image": "busybox", "Env": ["=x"]}', "invalid environment variable: =x"),
        (b"\xff\xfe", "invalid JSON: invalid character '\ufffd' looking for beginning of value"),
        (b'{"Image": "busybox"} {}', "unexpected content after JSON"),
    ],
)
def test_bad_bodies_are_refused(api: Api, body: bytes, message: str) -> None:
    status, found = api.message("POST", "/containers/create", body)
    assert status == 400 and found.startswith(message)


def test_the_life_of_a_container(api: Api) -> None:
    container = api.create("web", Cmd=["sleep"], HostConfig={"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}})
    assert api.message("POST", "/containers/create?name=web", {"Image": "busybox"})[0] == 409
    assert api.call("POST", "/containers/web/start") == (204, None)
    assert api.call("POST", "/containers/web/start") == (304, None)
    status, inspected = api.call("GET", f"/v1.40/containers/{container[:12]}/json")
    assert status == 200 and isinstance(inspected, dict)
    assert inspected["State"]["Running"] and inspected["Name"] == "/web"
    assert inspected["NetworkSettings"]["Ports"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}
    assert inspected["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] == "172.30.0.2"
    assert api.call("POST", "/containers/web/pause")[0] == api.call("POST", "/containers/web/unpause")[0] == 204
    assert api.call("POST", "/containers/web/rename?name=shop")[0] == 204
    assert api.message("DELETE", "/containers/shop")[0] == 409
    assert api.call("POST", "/containers/shop/kill?signal=HUP")[0] == 204
    assert api.call("POST", "/containers/shop/stop?t=1&signal=INT")[0] == 204
    assert api.engine.containers.calls == [("kill", "shop", "HUP"), ("stop", 1, "INT")]
    assert api.call("DELETE", "/containers/shop?v=1&force=1") == (204, None)
    assert api.call("GET", "/containers/json?all=1") == (200, [])


def names(answer: tuple[int, object]) -> list[str]:
    status, found = answer
    assert status == 200 and isinstance(found, list), found
    return [one["Names"][0][1:] for one in found]


def test_order_limit_and_size_of_ps(api: Api) -> None:
    for name in ("a", "b", "c"):
        api.create(name)
    assert names(api.call("GET", "/containers/json", limit=2)) == ["c", "b"]
    _, listed = api.call("GET", "/containers/json", all=1, size=1)
    assert isinstance(listed, list) and listed[0]["SizeRw"] == 10


def test_update(api: Api) -> None:
    api.create("web")
    assert api.call("POST", "/containers/web/update", {"Memory": 7 << 20}) == (200, {"Warnings": ["a warning"]})
    assert api.call("POST", "/v1.24/containers/web/update", {"CpuShares": 5}) == (200, {"Warnings": None})
    assert api.message("POST", "/containers/nobody/update", {})[0] == 404
    status, words = api.message("POST", "/containers/web/update", {"Memory": "much"})
    assert status == 400 and "of type int64" in words


def test_a_renamed_image_shows_as_its_id(api: Api) -> None:
    api.create("web")
    api.call("DELETE", "/images/busybox")
    _, listed = api.call("GET", "/containers/json?all=1")
    assert isinstance(listed, list) and listed[0]["Image"] == BUSYBOX


def test_the_list_shows_what_others_call_it(api: Api) -> None:
    api.create("db")
    api.create("web", HostConfig={"Links": ["db:store", "gone"]})
    _, listed = api.call("GET", "/containers/json?all=1")
    assert isinstance(listed, list)
    assert [one["Names"] for one in listed] == [["/web"], ["/db", "/web/store"]]


def test_the_list_does_not_fail_for_a_link_that_is_not_unique_any_more(api: Api) -> None:
    """A link may name the beginning of an id, and a later container's begins with the same."""
    first = api.create("db")
    api.create("web", HostConfig={"Links": [f"{first[:2]}:store"]})
    twin = ContainerId(first[:2].ljust(64, "f"))
    api.engine.containers.records[twin] = replace(api.engine.containers.find("web"), id=twin, name="twin")
    status, listed = api.call("GET", "/containers/json?all=1")
    assert status == 200 and isinstance(listed, list) and len(listed) == 3


def test_prune_takes_what_does_not_run(api: Api) -> None:
    api.create("web", Cmd=["sleep"])
    api.call("POST", "/containers/web/start")
    old = api.create("old")
    kept = {"filters": {"label!": ["keep"]}}
    api.create("kept", Labels={"keep": ""})
    assert api.call("POST", "/containers/prune", **kept) == (200, {"ContainersDeleted": [old], "SpaceReclaimed": 10})


def test_top_shows_the_processes_of_the_container(api: Api) -> None:
    api.create("web", Cmd=["sleep"])
    assert api.message("GET", "/containers/web/top")[0] == 409
    api.call("POST", "/containers/web/start")
    _, found = api.call("GET", "/containers/web/top", ps_args="-o pid,comm -e")
    assert isinstance(found, dict) and found["Titles"] == ["PID", "COMMAND"] and len(found["Processes"]) == 1
    _, simple = api.call("GET", "/containers/web/top", ps_args="o pid,comm")  # by itself: no process of this terminal
    assert isinstance(simple, dict) and len(simple["Processes"]) == 1
    nothing = api.message("GET", "/containers/web/top", ps_args="-o comm -e")
    assert nothing == (500, "Couldn't find PID field in ps output")
    assert api.message("GET", "/containers/web/top", ps_args="nonsense")[1].startswith("ps: error: ")
    assert api.message("GET", "/containers/web/top", ps_args="-o x=PID")[0] == 400
    assert select_rows("PID LWP\n1 -\n- 1\n2 -\n- 2\n", {2})["Processes"] == [["2", "-"], ["-", "2"]]
    assert select_rows("PID CMD\n7 x\n", {1})["Processes"] is None


# -- streams


def test_the_head_of_wait_comes_before_the_exit(api: Api) -> None:
    api.create("web", Cmd=["sleep"])
    api.call("POST", "/containers/web/start")
    client = api.place.connect()
    client.sendall(b"POST /containers/web/wait?condition=next-exit HTTP/1.1\r\nHost: d\r\n\r\n")
    assert b"200 OK" in receive_until(client, b"\r\n\r\n")
    api.call("POST", "/containers/web/stop")
    assert b'{"StatusCode":137}' in receive_until(client, b"0\r\n\r\n")
    assert api.message("POST", "/containers/web/wait?condition=x") == (400, 'invalid condition: "x"')


def frames(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        kind, length = struct.unpack(">BxxxI", data[:8])
        found.append((kind, data[8 : 8 + length]))
        data = data[8 + length :]
    return found


def test_logs_are_multiplexed(api: Api) -> None:
    api.create("web")
    answer = api.ask("GET", "/containers/web/logs?stdout=1&stderr=1&timestamps=1")
    assert answer.headers["Content-Type"] == "application/vnd.docker.multiplexed-stream"
    stamp = b"2023-11-14T22:13:20.00000000"
    assert frames(answer.read()) == [
        (1, stamp + b"0Z line 0\n"),
        (2, stamp + b"1Z line 1\n"),
        (1, stamp + b"2Z line 2\n"),
    ]
    assert api.ask("GET", "/v1.41/containers/web/logs?stdout=1").headers["Content-Type"].endswith("raw-stream")


def test_logs_of_a_terminal_are_raw(api: Api) -> None:
    api.create("web", Tty=True)
    assert api.ask("GET", "/containers/web/logs?stdout=1").read() == b"line 0\nline 2\n"


def test_logs_need_a_stream(api: Api) -> None:
    api.create("web")
    expected = (400, "Bad parameters: you must choose at least one stream")
    assert api.message("GET", "/containers/web/logs") == expected


def test_attach_before_start(api: Api) -> None:
    """The docker CLI's order: attach, then start; nothing of the output may be missed."""
    container = api.create("web", OpenStdin=True)
    path = "/containers/web/attach?stream=1&stdin=1&stdout=1&stderr=1"
    head, client = api.hijack(path)
    assert b"101 UPGRADED" in head and b"multiplexed-stream" in head
    api.call("POST", "/containers/web/start")
    client.sendall(b"typed")
    client.shutdown(socket.SHUT_WR)
    assert frames(receive_all(client)) == [(1, b"out\n"), (2, b"err\n"), (1, b"TYPED")]
    deadline = time.monotonic() + 5
    while not api.engine.containers.attachments[container].closed:
        assert time.monotonic() < deadline


def test_a_vanished_client_lets_go_of_the_container(api: Api) -> None:
    container = api.create("web", OpenStdin=True, Tty=True)
    _, client = api.hijack("/containers/web/attach?stream=1&stdin=1&stdout=1")
    client.close()
    deadline = time.monotonic() + 5
    while not api.engine.containers.attachments[container].closed:
        assert time.monotonic() < deadline


def test_exec(api: Api) -> None:
    api.create("web", Cmd=["sleep"])
    assert api.message("POST", "/containers/web/exec", {"Cmd": ["ls"]})[0] == 409
    api.call("POST", "/containers/web/start")
    assert api.message("POST", "/containers/web/exec", {}) == (400, "No exec command specified")
    status, made = api.call("POST", "/containers/web/exec", {"Cmd": ["ls", "-l"], "AttachStdout": True})
    assert status == 201 and isinstance(made, dict)
    _, client = api.hijack(f"/exec/{made['Id']}/start", {"Detach": False, "Tty": False})
    assert frames(receive_all(client)) == [(1, b"out\n"), (2, b"err\n")]
    _, found = api.call("GET", f"/exec/{made['Id']}/json")
    assert isinstance(found, dict) and found["ExitCode"] == 3
    assert found["ProcessConfig"]["entrypoint"] == "ls" and found["ProcessConfig"]["arguments"] == ["-l"]


def test_an_upgrade_is_asked_for_by_one_header(api: Api) -> None:
    """Go's http client says `Upgrade` without naming it in `Connection`."""
    api.create("web", Cmd=["sleep"])
    api.call("POST", "/containers/web/start")
    client = api.place.connect()
    client.sendall(b"POST /containers/web/attach?stream=1 HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\n\r\n")
    assert client.recv(1 << 16).startswith(b"HTTP/1.1 101 ")


def test_the_head_of_a_stream_comes_alone(api: Api) -> None:
    """docker-py reads the head through a buffer, and the stream past it: output that came together with the head would
    be lost. (docker/api/client.py, `_get_raw_response_socket`.)"""
    api.create("web", Cmd=["sleep"])
    api.call("POST", "/containers/web/start")
    _, made = api.call("POST", "/containers/web/exec", {"Cmd": ["ls"]})
    assert isinstance(made, dict)
    client = api.place.connect()
    head = f"POST /exec/{made['Id']}/start HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n"
    client.sendall(f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
    assert client.recv(1 << 16).endswith(b"\r\n\r\n")
    assert receive_all(client) == b"\1\0\0\0\0\0\0\4out\n\2\0\0\0\0\0\0\4err\n"


def test_an_exec_that_does_not_start_says_so_in_its_stream(api: Api) -> None:
    api.create("web", Cmd=["sleep"])
    api.call("POST", "/containers/web/start")
    _, made = api.call("POST", "/containers/web/exec", {"Cmd": ["nosuch"]})
    assert isinstance(made, dict)
    head, client = api.hijack(f"/exec/{made['Id']}/start", {})
    assert b"101" in head and b"executable file not found" in receive_all(client)
    assert api.message("POST", f"/exec/{made['Id']}/start", {"Detach": True})[0] == 400


def test_export_and_commit(api: Api) -> None:
    api.create("web")
    assert api.ask("GET", "/containers/web/export").read() == b"tar"
    assert api.call("POST", "/commit", container="web", repo="a/b", tag="2", changes="CMD x", pause=0)[0] == 201
    request = api.engine.containers.calls[-1][1]
    assert (request.reference, request.changes, request.pause) == ("a/b:2", ("CMD x",), False)  # type: ignore[attr-defined]


# -- images


def lines(answer_body: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in answer_body.splitlines()]


def test_pull_is_a_stream_of_progress(api: Api) -> None:
    auth = base64.urlsafe_b64encode(b'{"username": "u", "password": "p"}').decode()
    answer = api.ask("POST", "/images/create?fromImage=busybox&tag=latest", headers={"X-Registry-Auth": auth})
    assert answer.status == 200 and len(lines(answer.read())) == 2
    assert api.engine.images.credentials and api.engine.images.credentials.password == "p"


@pytest.mark.parametrize("auth", ["%%%", "bnVsbA==", "W10=", "eyJ1c2VybmFtZSI6IDF9", "/w=="])
def test_credentials_that_cannot_be_read_are_none(api: Api, auth: str) -> None:
    """As with dockerd: some clients send `null`, or what isn't base64, where they have nothing to say."""
    answer = api.ask("POST", "/images/create?fromImage=busybox&tag=latest", headers={"X-Registry-Auth": auth})
    assert (answer.status, len(lines(answer.read())), api.engine.images.credentials) == (200, 2, None)


def test_errors_of_a_pull(api: Api) -> None:
    """Before the first line an HTTP error; afterwards only a line can tell."""
    assert api.message("POST", "/images/create?fromImage=nosuch&tag=1")[0] == 404
    answer = api.ask("POST", "/images/create?fromImage=broken&tag=1")
    message = "filesystem layer verification failed"
    assert lines(answer.read())[-1] == {"errorDetail": {"message": message}, "error": message}
    assert api.message("POST", "/images/create?fromSrc=http://example.org/root.tar")[0] == 503
    assert api.message("POST", "/images/create") == (400, "invalid reference format")


def test_an_image_is_imported_from_the_body(api: Api) -> None:
    assert api.call("POST", "/images/create?fromSrc=-&repo=mine&tag=1", b"tar") == (200, {"status": BUSYBOX})
    assert api.engine.images.loaded == b"tar" and "mine:1" in api.engine.images.find(BUSYBOX).tags


def test_names_of_images_contain_slashes(api: Api) -> None:
    assert api.call("POST", "/images/busybox/tag?repo=localhost:5000/a/b&tag=1")[0] == 201
    for path in ("localhost:5000/a/b:1", "localhost:5000%2Fa%2Fb:1"):
        status, found = api.call("GET", f"/images/{path}/json")
        assert status == 200 and isinstance(found, dict) and "localhost:5000/a/b:1" in found["RepoTags"]
    _, listed = api.call("GET", "/images/json", filters={"reference": ["localhost:5000/*/b"]})
    assert isinstance(listed, list) and len(listed) == 1
    _, removed = api.call("DELETE", "/images/localhost:5000/a/b:1")
    assert removed == [{"Untagged": "localhost:5000/a/b:1"}, {"Deleted": BUSYBOX}]


def test_history_load_and_prune_of_images(api: Api) -> None:
    _, entries = api.call("GET", "/images/busybox/history")
    assert isinstance(entries, list) and [entry["Id"] for entry in entries] == [BUSYBOX, "<missing>"]
    archive = b"x" * 3_000_000
    assert lines(api.ask("POST", "/images/load?quiet=1", archive).read())[0]["stream"]
    assert api.engine.images.loaded == archive
    refused = api.ask("POST", "/images/load", b"abc")
    assert (refused.status, lines(refused.read())) == (200, [{"errorDetail": {"message": "bad"}, "error": "bad"}])
    assert api.call("POST", "/images/prune") == (200, {"ImagesDeleted": None, "SpaceReclaimed": 0})
    _, pruned = api.call("POST", "/images/prune", filters={"dangling": ["false"]})
    assert isinstance(pruned, dict) and pruned["SpaceReclaimed"] == 1_234_567


# -- volumes, networks, events, system


def test_volumes(api: Api) -> None:
    status, volume = api.call("POST", "/volumes/create", {"Name": "data", "Labels": {"a": "b"}})
    assert status == 201 and isinstance(volume, dict) and volume["Driver"] == "local"
    assert api.call("GET", "/volumes/data") == (200, volume)
    api.call("POST", "/volumes/create", {})
    _, listed = api.call("GET", "/volumes", filters={"name": ["dat"]})
    assert isinstance(listed, dict) and listed["Volumes"] == [volume]
    _, pruned = api.call("POST", "/volumes/prune")
    assert isinstance(pruned, dict) and pruned["VolumesDeleted"] == ["a" * 64]
    assert api.call("DELETE", "/volumes/data") == (204, None)
    assert api.message("DELETE", "/volumes/data")[0] == 404


def test_events(api: Api) -> None:
    answer = api.ask("GET", "/events?until=10")
    assert [event["Type"] for event in lines(answer.read())] == ["container", "image"]


def test_live_events_come_at_once(api: Api) -> None:
    client = api.place.connect()
    client.sendall(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n")
    assert b'"time":5,"timeNano":5000000000' in receive_until(client, b'"Action":"pull"')


def test_info_and_version(api: Api) -> None:
    _, info = api.call("GET", "/info")
    assert isinstance(info, dict) and info["NCPU"] == 2 and info["Swarm"]["LocalNodeState"] == "inactive"
    assert info["RegistryConfig"]["IndexConfigs"]["registry:5000"]["Secure"] is False
    assert info["DefaultRuntime"] == "crun" and info["Runtimes"]["runc"] == {"path": "crun"}, "all that a create takes"
    _, version = api.call("GET", "/version")
    assert isinstance(version, dict) and [part["Name"] for part in version["Components"]] == ["Engine", "crun"]


def test_shutdown_answers_first(api: Api) -> None:
    assert api.call("POST", "/hostvm/shutdown", {"keep_containers": False}) == (204, None)
    deadline = time.monotonic() + 5
    while api.engine.shut_down != [False]:
        assert time.monotonic() < deadline


def test_a_link_goes_by_its_name(api: Api) -> None:
    assert api.call("DELETE", "/containers/shop/db", link=1) == (204, None)
    assert api.engine.containers.calls[-1] == ("remove_link", "shop/db")


def test_a_container_that_goes_while_sizes_are_measured_isn_t_listed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    _, before = api.call("GET", "/containers/json", all=1)
    assert isinstance(before, list)

    async def gone(ref: str) -> Sizes:
        if ref == before[0]["Id"]:
            raise NotFound(f"No such container: {ref}")
        return Sizes(10, 1000)

    monkeypatch.setattr(api.engine.containers, "sizes", gone)
    _, listed = api.call("GET", "/containers/json", all=1, size=1)
    assert isinstance(listed, list)
    assert [one["Id"] for one in listed] == [one["Id"] for one in before[1:]]


def test_our_own_command_line_gets_only_what_a_table_shows(api: Api) -> None:
    api.create()
    whole, brief = (api.call("GET", f"/containers/json?all=1{more}")[1] for more in ("", "&hostvm-brief=1"))
    assert isinstance(whole, list) and whole
    assert brief == [
        {
            name: value
            for name, value in one.items()
            if name not in ("Labels", "HostConfig", "NetworkSettings", "Mounts")
        }
        for one in whole
    ]
