"""Looking at containers and into them: stats, logs, attach, exec, and what a pause does to all of these."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.behaviour.harness.api import Api
from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.waiting import wait_for


@pytest.fixture
def api(machine: Machine) -> Api:
    return Api(machine)


def frames(raw: bytes) -> dict[int, bytes]:
    """What came on each stream of a multiplexed answer."""
    streams: dict[int, bytes] = {}
    while raw:
        size = int.from_bytes(raw[4:8], "big")
        streams[raw[0]] = streams.get(raw[0], b"") + raw[8 : 8 + size]
        raw = raw[8 + size :]
    return streams


BUSY = ("-m", "64m", "--pids-limit", "50", "busybox", "sh", "-c", "while :; do :; done")


def test_stats_of_a_busy_container(machine: Machine, api: Api) -> None:
    name = machine("run", "-d", "--name", "busy", *BUSY)
    status, told = api.call("GET", "/containers/busy/stats?stream=false")
    assert status == 200 and isinstance(told, dict)
    assert (told["name"], told["id"], told["pids_stats"]) == ("/busy", name, {"current": 1, "limit": 50})
    used = told["cpu_stats"]["cpu_usage"]["total_usage"] - told["precpu_stats"]["cpu_usage"]["total_usage"]
    passed = told["cpu_stats"]["system_cpu_usage"] - told["precpu_stats"]["system_cpu_usage"]
    assert 0 < used <= passed and told["cpu_stats"]["online_cpus"] >= 1
    assert told["memory_stats"]["limit"] == 64 << 20 and 0 < told["memory_stats"]["usage"] < 64 << 20
    assert told["networks"]["eth0"].keys() >= {"rx_bytes", "tx_packets"}
    for show in (machine, machine.docker):
        row = show("stats", "--no-stream", "--format", "{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}", "busy").split()
        assert (row[0], row[-2:]) == ("busy", ["64MiB", "1"]) and float(row[1].rstrip("%")) > 1


def test_stats_as_containers_come_and_go(machine: Machine, api: Api, terminal: Callable[..., object]) -> None:
    machine("create", "--name", "still", "busybox", "true")
    status, still = api.call("GET", "/containers/still/stats?stream=0&one-shot=1")
    assert status == 200 and isinstance(still, dict) and still["memory_stats"] == {}
    with terminal("stats") as screen:  # type: ignore[attr-defined]
        screen.expect("CONTAINER ID +NAME +CPU % +MEM USAGE / LIMIT")
        machine("run", "-d", "--name", "comes", "--network", "none", "busybox", "sleep", "3600")
        screen.expect(r"comes +\d+\.\d\d%")
        screen.type("\x03")
        assert screen.wait() == 130
    watching = machine.start("stats", "comes", "--format", "{{.Name}}={{.PIDs}}")
    assert watching.stdout is not None
    while b"comes=1" not in watching.stdout.readline():
        pass
    machine("rm", "-f", "comes")
    rest, _ = watching.communicate()
    assert watching.returncode == 0 and b"=--" in rest
    assert machine.fails(1, "stats", "comes") == "Error response from daemon: No such container: comes\n"


def test_logs_of_very_many_lines(machine: Machine) -> None:
    name = machine("run", "-d", "busybox", "seq", "1", "300000")
    machine("wait", name)
    whole = machine("logs", name)
    assert (whole.count("\n"), whole[:4], whole[-7:]) == (299_999, "1\n2\n", "\n300000")
    assert machine("logs", "--tail", "100000", name).split()[0] == "200001"
    assert machine.docker("logs", "--tail", "3", name) == "299998\n299999\n300000"
    stamped = machine("logs", "-t", "--tail", "2", name).splitlines()
    assert [line.split()[1] for line in stamped] == ["299999", "300000"]
    assert machine("logs", "--since", stamped[0].split()[0], name).endswith("300000")
    assert machine("logs", "--until", "2001-01-01T00:00:00Z", name) == ""


def test_attach_without_following_ends(machine: Machine, api: Api) -> None:
    """An unfinished line isn't in dockerd's log yet."""
    name = machine("run", "-d", "busybox", "sh", "-c", "printf 'out\nunfinished'; echo err >&2; sleep 3600")
    wait_for(lambda: machine.attempt("logs", name).err == "err\n", "the container's words")
    assert frames(api.raw(f"/containers/{name}/attach?logs=1&stdout=1&stderr=1")) == {1: b"out\n", 2: b"err\n"}
    assert frames(api.raw(f"/containers/{name}/attach?logs=1&stderr=1")) == {2: b"err\n"}
    assert api.raw(f"/containers/{name}/attach?stdout=1") == b""
    machine("stop", "-t", "0", name)
    assert frames(api.raw(f"/containers/{name}/attach?logs=1&stdout=1")) == {1: b"out\nunfinished"}


def test_an_attach_fails_in_plain_text(machine: Machine) -> None:
    """By then the connection is no HTTP's any more, as dockerd sees it."""
    client = http.client.HTTPConnection("docker")
    client.sock = socket.socket(socket.AF_UNIX)
    client.sock.connect(machine.socket)
    client.request("POST", "/containers/nosuch/attach")
    answer = client.getresponse()
    assert (answer.status, answer.read()) == (404, b"No such container: nosuch\r\n")
    assert answer.headers["Content-Type"] == "application/vnd.docker.raw-stream"
    client.close()


def test_an_exec_is_known_as_long_as_its_container(machine: Machine, api: Api) -> None:
    name = machine("run", "-d", "busybox", "sleep", "3600")

    def begin(command: list[str]) -> tuple[str, int]:
        _, made = api.call("POST", f"/containers/{name}/exec", {"Cmd": command})
        assert isinstance(made, dict)
        return made["Id"], api.call("POST", f"/exec/{made['Id']}/start", {"Detach": True})[0]

    def look(exec_id: str) -> dict[str, object]:
        _, seen = api.call("GET", f"/exec/{exec_id}/json")
        assert isinstance(seen, dict)
        return seen

    running, status = begin(["sleep", "3600"])
    assert status == 200 and isinstance(pid := look(running)["Pid"], int) and pid > 0
    assert machine("exec", name, "ps").count("sleep 3600") == 2
    missing, status = begin(["nonsense"])
    assert (status, look(missing)["ExitCode"]) == (400, 126)
    machine("rm", "-f", name)
    assert api.call("GET", f"/exec/{running}/json")[0] == 404


def test_the_working_folder_is_there_before_the_start(machine: Machine, api: Api, tmp_path: Path) -> None:
    machine("create", "--name", "placed", "-w", "/home/of/placed", "busybox", "pwd")
    machine.docker("cp", "placed:/home/of/placed", str(tmp_path))
    assert (tmp_path / "placed").is_dir()
    assert machine("diff", "placed").splitlines() == ["C /home", "A /home/of", "A /home/of/placed"]
    assert machine("start", "-a", "placed") == "/home/of/placed"
    image = machine("commit", "placed")
    _, seen = api.call("GET", f"/images/{image}/json")
    assert isinstance(seen, dict)
    assert seen["Container"] == api.call("GET", "/containers/placed/json")[1]["Id"]  # type: ignore[index]
    assert seen["ContainerConfig"]["WorkingDir"] == "/home/of/placed"
    assert seen["ContainerConfig"]["Image"] == "busybox" and seen["Config"]["Image"] == ""
    machine("rmi", image)


def test_an_exec_has_the_streams_that_it_asked_for(machine: Machine, api: Api) -> None:
    name = machine("run", "-d", "busybox", "sleep", "3600")

    def run(start: object, **config: object) -> tuple[bytes, dict[str, object]]:
        _, made = api.call("POST", f"/containers/{name}/exec", config)
        assert isinstance(made, dict)
        said = api.raw(f"/exec/{made['Id']}/start", start)
        _, seen = api.call("GET", f"/exec/{made['Id']}/json")
        assert isinstance(seen, dict)
        return said, seen

    both = ["sh", "-c", "echo out; echo err >&2; exit 3"]
    said, seen = run({}, Cmd=both, AttachStdout=True, AttachStderr=True)
    assert (frames(said), seen["ExitCode"], seen["Running"]) == ({1: b"out\n", 2: b"err\n"}, 3, False)
    assert frames(run({}, Cmd=both, AttachStdout=True)[0]) == {1: b"out\n"}
    assert run({}, Cmd=both)[0] == b""
    assert run({"Tty": True}, Cmd=["echo", "x"], Tty=True, AttachStdout=True)[0] == b"x\r\n"
    assert frames(run({}, Cmd=["echo", "x"], Tty=True, AttachStdout=True)[0]) == {1: b"x\r\n"}
    said, seen = run({}, Cmd=["true"], User="nobody-here", AttachStdout=True)
    assert (b"unable to find user nobody-here" in said, seen["ExitCode"]) == (True, 126)
    said, seen = run({}, Cmd=["true"], WorkingDir="/none", AttachStdout=True)
    assert (b'chdir to cwd ("/none")' in said, seen["ExitCode"]) == (True, 126)
    assert api.call("POST", f"/exec/{seen['ID']}/start", {"Detach": True})[0] == 409
    # compose's watch starts each command twice and wants 200 the second time, whatever the stream says
    again = f"Error: Exec command {seen['ID']} has already run\r\n"
    assert frames(api.raw(f"/exec/{seen['ID']}/start", {})) == {1: again.encode()}
    assert api.call("POST", f"/exec/{seen['ID']}/resize?h=1&w=1")[0] == 404
    config = {"Cmd": ["true"], "DetachKeys": "ctrl-,x"}
    refused = api.call("POST", f"/containers/{name}/exec", config)
    assert refused[0] == 400 and isinstance(refused[1], dict)
    assert refused[1]["message"] == "Invalid escape keys (ctrl-,x) provided"


@pytest.mark.parametrize("tty", [True, False])
def test_an_exec_outlives_its_client(tty: bool, machine: Machine, api: Api) -> None:
    """What it prints must then neither stop it nor end it: pipes fill up, and a closed one is a SIGPIPE."""
    name = machine("run", "-d", "busybox", "sleep", "3600")
    talk = ["sh", "-c", "echo begun; until [ -e /go ]; do sleep 0.1; done; seq 1 100000; touch /done"]
    config = {"Cmd": talk, "Tty": tty, "AttachStdout": True, "AttachStderr": True}
    _, made = api.call("POST", f"/containers/{name}/exec", config)
    assert isinstance(made, dict)
    body = json.dumps({"Tty": tty})
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(machine.socket)
        client.sendall(
            f"POST /exec/{made['Id']}/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        received = b""
        while b"begun" not in received:
            received += client.recv(4096)
    machine("exec", "-d", "-t", name, "sh", "-c", "seq 1 100000; touch /detached")
    machine("exec", name, "touch", "/go")
    wait_for(lambda: machine.attempt("exec", name, "ls", "/done", "/detached").code == 0, "the ends of both")


def test_top_has_the_columns_of_ps(machine: Machine) -> None:
    name = machine("run", "-d", "busybox", "sleep", "3600")
    titles, row = (line.split(maxsplit=7) for line in machine("top", name).splitlines())
    assert titles == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert (row[0], row[7]) == ("root", "sleep 3600")
    assert machine("top", name, "-o", "pid,args").splitlines()[1].split() == [row[1], "sleep", "3600"]


def test_a_paused_container(machine: Machine) -> None:
    loop = "trap 'echo stopped; exit 4' TERM; echo begun; while :; do sleep 0.1; done"
    name = machine("run", "-d", "--name", "frozen", "busybox", "sh", "-c", loop)
    wait_for(lambda: machine("logs", name) == "begun", "the beginning")
    machine("pause", "frozen")
    assert machine("logs", "frozen") == "begun"
    assert "sleep" in machine("top", "frozen") or "sh" in machine("top", "frozen")
    assert machine.fails(1, "exec", "frozen", "true") == (
        "Error response from daemon: Container frozen is paused, unpause the container before exec\n"
    )
    assert machine.fails(1, "pause", "frozen") == f"Error response from daemon: Container {name} is already paused\n"
    assert machine.fails(1, "rm", "frozen") == (
        'Error response from daemon: cannot remove container "/frozen": '
        "container is paused and must be unpaused first\n"
    )
    machine("kill", "--signal", "CONT", "frozen")
    assert machine.status("frozen") == "running"
    machine("pause", "frozen")
    machine("stop", "frozen")
    assert (machine("logs", "frozen"), machine.inspect("frozen")["State"]["ExitCode"]) == ("begun\nstopped", 4)


def test_names_that_are_taken(machine: Machine) -> None:
    first = machine("create", "--name", "first", "busybox", "true")
    machine("create", "--name", "second", "busybox", "true")
    for new, message in {
        "first": f'Conflict. The container name "/first" is already in use by container "{first}". '
        "You have to remove (or rename) that container to be able to reuse that name.",
        "a b": "Invalid container name (/a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
    }.items():
        assert machine.fails(1, "rename", "second", new).startswith(
            f"Error response from daemon: Error when allocating new name: {message}\n"
        )
    assert "same name as its current name" in machine.fails(1, "rename", "second", "second")
    machine("rename", "second", "third")
    assert machine.inspect("third")["Name"] == "/third"
