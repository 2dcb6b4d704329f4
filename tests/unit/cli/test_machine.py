"""The commands of the machine that need none: which one is meant, what is asked, what is written."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from guest_agent.wire.errors import InvalidArgument
from hostvm.cli import docker_contexts, machine_logs, machine_spec
from hostvm.cli.failure import Failure
from hostvm.cli.machine_copy import Place, check_places, parse_place
from hostvm.cli.machine_shell import split_words
from hostvm.cli.main import run
from hostvm.cli.parse import parse
from hostvm.cli.start_progress import StartProgress
from hostvm.cli.table import load
from hostvm.machines.vm.paths import VmPaths
from tests.unit.cli.conftest import Outcome

Call = Callable[..., Outcome]


@pytest.fixture
def hostvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Runs a command whose machines are below `tmp_path`; none of them can start."""
    import posix

    own = {"HOSTVM_DATA": "data", "HOSTVM_RUN": "run", "HOSTVM_CACHE": "cache", "HOSTVM_CONFIG": "config"}
    environment = {**posix.environ, **{k.encode(): str(tmp_path / v).encode() for k, v in own.items()}}
    environment[b"HOSTVM_MACHINE"] = b"vm"
    monkeypatch.setattr("hostvm.cli.main.environ", environment)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    (tmp_path / "home").mkdir()

    def call(*words: str) -> Outcome:
        capfd.readouterr()
        code = run(list(words))
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


def paths(tmp_path: Path) -> VmPaths:
    return VmPaths(str(tmp_path / "data"), str(tmp_path / "run"), str(tmp_path / "cache"))


def spec_of(tmp_path: Path, name: str) -> dict[str, object]:
    return json.loads(Path(paths(tmp_path).machine(name).spec).read_text())  # type: ignore[no-any-return]


# -- create, set, inspect, ls, rm, reset


def test_a_machine_is_made_as_asked(hostvm: Call, tmp_path: Path) -> None:
    share = tmp_path / "a share"
    share.mkdir()
    done = hostvm(
        "machine", "create", "work", "--cpus", "3", "--memory", "2g", "--disk", "8", "--share", str(share),
        "--idle", "1h30m",
    )  # fmt: skip
    assert (done.code, done.out) == (0, "work\n"), done
    spec = spec_of(tmp_path, "work")
    assert {key: spec[key] for key in ("cpus", "memory", "disk", "shares", "idle_seconds")} == {
        "cpus": 3, "memory": 2048, "disk": 8, "shares": [str(share)], "idle_seconds": 5400,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["create", "native"], "the machine name 'native' is reserved"),
        (["create", "../x"], "invalid machine name '../x'"),
        (["create", "x", "--memory", "1m"], "memory must be between"),
        (["create", "x", "--cpus", "0"], "cpus must be between"),
        (["create", "x", "--arch", "vax"], "unknown architecture 'vax'"),
        (["create", "x", "--share", "/no/such/folder"], "/no/such/folder is no folder of this host"),
        (["create", "x", "--idle", "soon"], "not a time"),
        (["create", "x", "--memory", "many"], "invalid size: 'many'"),
        (["inspect", "none"], "there is no machine named 'none'"),
        (["rm", "-f", "none"], "there is no machine named 'none'"),
        (["reset", "-f", "none"], "there is no machine named 'none'"),
        (["stop", "none"], "there is no machine named 'none'"),
        (["logs", "none"], "there is no machine named 'none'"),
        (["shell", "none"], "there is no machine named 'none'"),
        (["shell", "native"], "the machine 'native' is this host itself"),
        (["set", "native", "--cpus", "2"], "the machine 'native' is this host itself"),
        (["set"], "nothing to change was named"),
        (["set", "--port-rule", "x"], "no port rule: 'x'"),
        (["set", "--port-rule", "deny=many"], "no port or range of ports: 'many'"),
        (["set", "--port-rule", "refuse=1"], "there is no port rule 'refuse'"),
        (["set", "--unshare", "/srv"], "/srv isn't shared"),
        (["cp", "a", "b"], "must specify at least one machine"),
        (["cp", "vm:a", "vm:b"], "copying between machines is not supported"),
        (["cp", "none:a", "b"], "there is no machine named 'none'"),
        (["context", "none"], "there is no machine named 'none'"),
        (["stop", "--shutdown", "native"], "only a VM machine can be shut down"),
        (["stop", "--keep-containers", "vm"], "a VM machine has no --keep-containers"),
    ],
)
def test_bad_input_is_a_line_and_mostly_a_hint(hostvm: Call, tmp_path: Path, words: list[str], message: str) -> None:
    done = hostvm("machine", *words)
    assert done.code != 0
    assert message in done.err
    assert "Traceback" not in done.err
    assert set(tmp_path.glob("data/machines/*")) <= {tmp_path / "data/machines/vm"}


def test_a_machine_is_changed(hostvm: Call, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    hostvm("machine", "create", "work", "--disk", "8", "--share", str(tmp_path / "one"))
    done = hostvm(
        "machine", "set", "work", "--memory", "1024", "--disk", "9g", "--idle", "off",
        "--share", str(tmp_path / "two"), "--unshare", str(tmp_path / "one"), "--port-rule", "deny=22,8000-8100",
    )  # fmt: skip
    assert done.out == "work\n", done
    spec = spec_of(tmp_path, "work")
    assert (spec["memory"], spec["disk"], spec["shares"]) == (1024, 9, [str(tmp_path / "two")])
    assert spec["ports"] == {"deny": "22,8000-8100"}
    hostvm("machine", "set", "work", "--port-rule", "deny=", "--port-rule", "bind=127.0.0.1")
    assert spec_of(tmp_path, "work")["ports"] == {"bind": "127.0.0.1"}


def test_a_disk_only_grows(hostvm: Call) -> None:
    hostvm("machine", "create", "work", "--disk", "8")
    done = hostvm("machine", "set", "work", "--disk", "7")
    assert "the disk can't shrink from 8 to 7 GiB" in done.err and "hint: " in done.err


def test_the_home_folder_is_shared_until_somebody_says_otherwise(hostvm: Call, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    hostvm("machine", "set", "vm", "--share", str(tmp_path / "more"))
    assert spec_of(tmp_path, "vm")["shares"] == [str(tmp_path / "home"), str(tmp_path / "more")]


def test_ls_and_inspect(hostvm: Call, tmp_path: Path) -> None:
    hostvm("machine", "create", "work", "--cpus", "2", "--memory", "1g", "--disk", "8")
    assert hostvm("machine", "ls", "--format", "{{.Name}} {{.Driver}} {{.State}} {{.CPUs}}").out.splitlines()[-1] == (
        "work vm stopped 2"
    )
    assert hostvm("machine", "list", "-q").out.splitlines()[-1] == "work"
    assert hostvm("machine", "inspect", "-f", "{{.Memory}} {{.State}}", "work").out == f"{1 << 30} stopped\n"
    [record] = json.loads(hostvm("machine", "inspect", "work").out)
    assert record["Socket"] == str(tmp_path / "run/machines/work/engine.sock")
    assert record["Shares"] == [str(tmp_path / "home")]
    Path(paths(tmp_path).machine("work").state_record).write_text("{}")
    assert hostvm("machine", "inspect", "-f", "{{.State}}", "work").out == "suspended\n"


def test_data_goes_only_when_it_is_meant(hostvm: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostvm("machine", "create", "work")
    disk = Path(paths(tmp_path).machine("work").disk)
    disk.write_text("data")
    for verb in ("rm", "reset"):
        done = hostvm("machine", verb, "work")
        assert done.code == 1 and "hint: say -f if you mean it" in done.err
    assert disk.read_text() == "data"
    assert hostvm("machine", "reset", "-f", "work").code == 0
    assert not disk.exists() and spec_of(tmp_path, "work")["name"] == "work"
    assert hostvm("machine", "rm", "-f", "work").out == "work\n"
    assert not Path(paths(tmp_path).machine("work").folder).exists()


@pytest.mark.parametrize(
    ("answer", "goes"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_on_a_terminal_the_user_is_asked(monkeypatch: pytest.MonkeyPatch, answer: str, goes: bool) -> None:
    monkeypatch.setattr(os, "isatty", lambda _descriptor: True)
    monkeypatch.setattr(os, "read", lambda _descriptor, _size: answer.encode())
    if goes:
        machine_spec.confirm("Remove it?")
    else:
        with pytest.raises(Failure, match="nothing was removed"):
            machine_spec.confirm("Remove it?")


def test_a_stopped_machine_is_stopped_already(hostvm: Call) -> None:
    hostvm("machine", "create", "work")
    assert (hostvm("machine", "stop", "work").code, hostvm("machine", "stop", "work").err) == (
        0, "the machine isn't running\n",
    )  # fmt: skip


# -- shell, ssh, cp


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--", "ls", "-l"], ([], ["ls", "-l"])),
        (["vm", "--", "ls", "-l"], (["vm"], ["ls", "-l"])),
        (["vm", "-A", "--", "vm"], (["vm"], ["vm"])),
        (["vm"], (["vm"], [])),
        (["vm", "uname"], (["vm"], ["uname"])),
        (["uname"], ([], ["uname"])),
        ([], ([], [])),
    ],
)
def test_which_word_is_the_machine(words: list[str], expected: tuple[list[str], list[str]]) -> None:
    assert split_words(parse(load("machine ssh"), words), lambda name: name == "vm") == expected


def test_two_machines_before_the_command() -> None:
    with pytest.raises(Failure, match="only one machine"):
        split_words(parse(load("machine ssh"), ["vm", "other", "--", "ls"]), lambda _name: True)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("vm:/tmp/x", Place("vm", "/tmp/x")), ("vm:", Place("vm", ".")), ("vm:a:b", Place("vm", "a:b")),
        ("./vm:x", Place("", "./vm:x")), ("/a:b", Place("", "/a:b")), ("a/b:c", Place("", "a/b:c")),
        (":x", Place("", ":x")), ("file", Place("", "file")),
    ],
)  # fmt: skip
def test_places(text: str, place: Place) -> None:
    assert parse_place(text) == place


def test_the_machine_of_a_copy() -> None:
    assert check_places(Place("", "a"), Place("vm", "b")) == "vm"
    assert check_places(Place("vm", "a"), Place("", "b")) == "vm"


# -- logs


def test_logs_are_shown_and_labelled(hostvm: Call, tmp_path: Path) -> None:
    hostvm("machine", "create", "work")
    machine = paths(tmp_path).machine("work")
    Path(machine.console).write_text("one\ntwo\n")
    Path(machine.guest_log).write_text("three\n")
    assert hostvm("machine", "logs", "work", "-n", "1").out == "console    | two\nguest      | three\n"
    assert hostvm("machine", "logs", "--source", "console", "work").out == "one\ntwo\n"
    assert "there is no log 'none'" in hostvm("machine", "logs", "--source", "none", "work").err


def test_a_log_that_grows_or_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = machine_logs.LogFile(str(path))
    assert log.read() == b""
    path.write_text("one\n")
    assert log.read() == b"one\n"
    with path.open("a") as file:
        file.write("two\n")
    assert (log.read(), log.read()) == (b"two\n", b"")
    path.write_text("x\n")
    assert log.read() == b"x\n"


@pytest.mark.parametrize(("count", "expected"), [(-1, b"a\nb\nc"), (0, b""), (2, b"b\nc"), (9, b"a\nb\nc")])
def test_the_last_lines(count: int, expected: bytes) -> None:
    assert machine_logs.last_lines(b"a\nb\nc", count) == expected


# -- env, context


def test_env_names_the_machines_socket(hostvm: Call, tmp_path: Path) -> None:
    line = hostvm("env", "--shell", "bash").out
    assert line == f"export DOCKER_HOST=unix://{tmp_path}/run/machines/vm/engine.sock\n"
    assert hostvm("-m", "native", "env", "--shell", "bash").out == (
        f"export DOCKER_HOST=unix://{tmp_path}/run/engine.sock\n"
    )


def test_docker_finds_the_context(hostvm: Call, tmp_path: Path) -> None:
    """Docker's own command line reads what was written; where it isn't installed, the file is looked at."""
    config = tmp_path / "home" / ".docker" / "config.json"
    config.parent.mkdir()
    config.write_text('{"auths": {"x": {"auth": "secret"}}}')
    config.chmod(0o600)
    assert hostvm("machine", "context", "--use", "vm").out == "hostvm-vm\n"
    document = json.loads(Path(docker_contexts.context_file(str(config.parent), "hostvm-vm")).read_text())
    assert document["Endpoints"]["docker"]["Host"] == f"unix://{tmp_path}/run/machines/vm/engine.sock"
    assert json.loads(config.read_text()) == {"auths": {"x": {"auth": "secret"}}, "currentContext": "hostvm-vm"}
    assert config.stat().st_mode & 0o777 == 0o600
    assert hostvm("machine", "context", "--rm", "vm").code == 0
    assert json.loads(config.read_text()) == {"auths": {"x": {"auth": "secret"}}}
    assert not Path(docker_contexts.context_file(str(config.parent), "hostvm-vm")).exists()
    assert hostvm("machine", "context", "--rm", "vm").code == 0


def test_dockers_configuration_isnt_replaced_when_it_cant_be_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{broken")
    with pytest.raises(Failure, match="cannot read docker's configuration"):
        docker_contexts.use_context(str(tmp_path), "x")
    assert (tmp_path / "config.json").read_text() == "{broken"


# -- set's shares


def test_shares_are_added_once(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert machine_spec.plan_shares([folder, "/b"], [folder, folder], ["/b"]) == [folder]
    with pytest.raises(InvalidArgument):
        machine_spec.plan_shares([], [str(tmp_path / "none")], [])


# -- doctor


def test_doctor_on_a_machine_that_isnt_made_yet(hostvm: Call, tmp_path: Path) -> None:
    done = hostvm("doctor")
    assert "guest image" in done.out and "Traceback" not in done.err
    assert not Path(paths(tmp_path).machine("vm").folder).exists()
    assert hostvm("machine", "doctor", "none").err.startswith("hostvm: there is no machine named")


def test_a_bundle_has_the_logs_and_no_secret(hostvm: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostvm("machine", "create", "work")
    machine = paths(tmp_path).machine("work")
    secret = "hunter2hunter2"
    Path(machine.guest_log).write_text(f"pull: Authorization: Bearer {secret}\nrun -e TOKEN={secret} x\nit failed\n")
    Path(machine.keys).mkdir()
    Path(machine.keys, "user_ed25519").write_text(secret)
    Path(tmp_path / "config").write_text(f'password = "{secret}"')
    monkeypatch.setenv("HOSTVM_REGISTRY_PASSWORD", secret)
    bundle = tmp_path / "report.tar.gz"
    done = hostvm("machine", "doctor", "--bundle", str(bundle), "work")
    assert "guest.log" in done.out and secret not in done.out
    with tarfile.open(bundle) as archive:
        names = {Path(name).name for name in archive.getnames()}
        text = b"".join(archive.extractfile(name).read() for name in archive.getnames())  # type: ignore[union-attr]
    assert {"LISTING.txt", "findings.txt", "host.txt", "guest.log", "machine.json"} <= names
    assert secret.encode() not in text and b"it failed" in text


# -- progress


def test_a_start_is_silent_where_nobody_looks(capfd: pytest.CaptureFixture[str]) -> None:
    progress = StartProgress("vm")
    for stage in ("booting", "kernel"):
        progress(stage)
    progress.close()
    assert capfd.readouterr().err == ""


def test_the_build_of_an_image_is_said_anywhere(capfd: pytest.CaptureFixture[str]) -> None:
    progress = StartProgress("vm")
    for stage in ("Downloading (30.0 MB)", "Downloading (30.0 MB): 1 %", "Downloading (30.0 MB): 2 %", "Unpacking"):
        progress(f"making the guest image: {stage}")
    assert capfd.readouterr().err.splitlines() == [
        "Starting vm: making the guest image: Downloading (30.0 MB)",
        "Starting vm: making the guest image: Unpacking",
    ]
