"""`context` and its verbs: docker's own store, as docker's command line reads and writes it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from hostvm.cli import docker_contexts
from tests.unit.cli.conftest import Outcome

Call = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in ("DOCKER_CONTEXT", "DOCKER_HOST"):
        monkeypatch.delenv(name, raising=False)
    return str(tmp_path / "docker")


def test_the_life_of_a_context(hostvm: Call, folder: str) -> None:
    made = hostvm("context", "create", "far", "--description", "Far away", "--docker", "host=tcp://far:2375")
    assert (made.out, made.err) == ("far\n", 'Successfully created context "far"\n')
    document = json.loads(Path(docker_contexts.context_file(folder, "far")).read_text())
    assert document == {
        "Name": "far",
        "Metadata": {"Description": "Far away"},
        "Endpoints": {"docker": {"Host": "tcp://far:2375", "SkipTLSVerify": False}},
    }
    used = hostvm("context", "use", "far")
    assert (used.out, used.err) == ("far\n", 'Current context is now "far"\n')
    assert hostvm("context", "show").out == "far\n"
    listed = hostvm("context", "ls").out.splitlines()
    assert listed[0].split() == ["NAME", "DESCRIPTION", "DOCKER", "ENDPOINT", "ERROR"]
    assert listed[1].startswith("default ") and listed[2].split("   ")[0] == "far *"
    assert hostvm("context", "ls", "-q").out == "default\nfar\n"
    assert hostvm("context", "ls", "--format", "{{.Name}} {{.Current}}").out == "default false\nfar true\n"
    hostvm("context", "update", "far", "--description", "Near", "--docker", "host=unix:///run/near.sock")
    (shown,) = json.loads(hostvm("context", "inspect").out)
    assert shown["Metadata"] == {"Description": "Near"} and shown["TLSMaterial"] == {}
    assert docker_contexts.find_host(folder, "far") == "unix:///run/near.sock"
    assert hostvm("context", "rm", "far").err == 'context "far" is in use, set -f flag to force remove\n'
    assert hostvm("context", "rm", "-f", "far").out == "far\n"
    assert hostvm("context", "show").out == "default\n"


def test_certificates_travel_with_an_export(hostvm: Call, folder: str, tmp_path: Path) -> None:
    for name in ("ca", "key"):
        (tmp_path / name).write_text(name)
    options = f"host=tcp://far:2376,ca={tmp_path}/ca,key={tmp_path}/key,skip-tls-verify=true"
    hostvm("context", "create", "far", "--docker", options)
    archive = str(tmp_path / "far.dockercontext")
    assert hostvm("context", "export", "far", archive).err == f'Written file "{archive}"\n'
    assert hostvm("context", "import", "copy", archive).err == 'Successfully imported context "copy"\n'
    (shown,) = json.loads(hostvm("context", "inspect", "copy").out)
    assert shown["TLSMaterial"] == {"docker": ["ca.pem", "key.pem"]}
    assert shown["Endpoints"]["docker"] == {"Host": "tcp://far:2376", "SkipTLSVerify": True}
    assert Path(f"{docker_contexts.tls_folder(folder, 'copy')}/docker/key.pem").read_text() == "key"
    hostvm("context", "rm", "copy")
    assert not Path(docker_contexts.tls_folder(folder, "copy")).exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("create", "default", "--docker", "host=tcp://x"), '"default" is a reserved context name'),
        (("create", "-x"), "unknown shorthand flag: 'x' in -x"),
        (("create", "a b"), 'context name "a b" is invalid, names are validated against regexp'),
        (("create", "far", "--docker", "hast=x"), "hast: unrecognized config key"),
        (("use", "none"), 'context "none": context not found: open '),
        (("rm", "none"), 'context "none": context not found: open '),
        (("rm", "default"), 'context "default" cannot be removed'),
        (("import", "far", "/no/such/file"), "open /no/such/file: no such file or directory"),
    ],
)
def test_refusals(hostvm: Call, words: tuple[str, ...], message: str) -> None:
    outcome = hostvm("context", *words)
    assert outcome.code and message in outcome.err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("", " must be formatted as key=value"),
        ("host", "host must be formatted as key=value"),
        ("host=tcp://x,,ca=x", " must be formatted as key=value"),
        ('host="a,ca=b', 'parse error on line 1, column 6: bare " in non-quoted-field'),
        ('"host=tcp://x,ca=b', 'parse error on line 1, column 19: extraneous or missing " in quoted-field'),
    ],
)
def test_options_that_are_no_pairs(hostvm: Call, options: str, reason: str) -> None:
    """The words of docker 28."""
    quoted = options.replace('"', '\\"')
    for verb in ("create", "update"):
        outcome = hostvm("context", verb, "far", "--docker", options)
        assert outcome.code == 125
        assert outcome.err.startswith(f'invalid argument "{quoted}" for "--docker" flag: {reason}\n\nUsage:  hostvm')


@pytest.mark.parametrize(
    ("words", "host", "skips"),
    [
        (['"host=tcp://x"'], "tcp://x", False),
        (["host=tcp://x,ca"], "tcp://x,ca", False),
        (['"host=tcp://x,y","skip-tls-verify=1"'], "tcp://x,y", True),
        (["host=tcp://x,skip-tls-verify=1", "host=tcp://y"], "tcp://y", True),
    ],
)
def test_options_as_docker_reads_them(hostvm: Call, folder: str, words: list[str], host: str, skips: bool) -> None:
    """One pair is no CSV; a later --docker adds to the one before."""
    hostvm("context", "create", "far", *(part for word in words for part in ("--docker", word)))
    assert endpoint(folder, "far") == ({"Host": host, "SkipTLSVerify": skips}, {})


_UNUSABLE = "unable to create docker endpoint config: unable to apply docker endpoint options: "
_INVALID = "unable to create docker endpoint config: invalid docker endpoint options: "
_SSH = f"{_INVALID}ssh host connection is not valid: "


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("far", f"{_UNUSABLE}unable to parse docker host `far`"),
        ("far:2375", f"{_UNUSABLE}unable to parse docker host `far:2375`"),
        ("tcp://", f"{_UNUSABLE}unable to parse docker host `tcp://`"),
        ("npipe:////./pipe/docker", f"{_UNUSABLE}protocol not available"),
        (f"unix:///{'x' * 108}", f'{_UNUSABLE}unix socket path "/{"x" * 108}" is too long'),
        ("1.2.3.4:2375", f'{_INVALID}parse "1.2.3.4:2375": first path segment in URL cannot contain colon'),
        ("://far", f'{_INVALID}parse "://far": missing protocol scheme'),
        ("tcp://far:port", f'{_INVALID}parse "tcp://far:port": invalid port ":port" after host'),
        ("tcp://[::1", f"{_INVALID}parse \"tcp://[::1\": missing ']' in host"),
        ("tcp://a b", f'{_INVALID}parse "tcp://a b": invalid character " " in host name'),
        ("tcp://far/%zz", f'{_INVALID}parse "tcp://far/%zz": invalid URL escape "%zz"'),
        ("ssh://me:word@far", f"{_SSH}plain-text password is not supported"),
        ("ssh://me@:22", f"{_SSH}no host specified"),
        ("ssh://far?a=1", f'{_SSH}extra query after the host: "a=1"'),
        ("ssh://far#a", f'{_SSH}extra fragment after the host: "a"'),
    ],
)
def test_hosts_that_docker_refuses(hostvm: Call, host: str, message: str) -> None:
    hostvm("context", "create", "here", "--docker", "host=tcp://x")
    for verb, name in (("create", "far"), ("update", "here")):
        outcome = hostvm("context", verb, name, "--docker", f"host={host}")
        assert (outcome.code, outcome.err) == (1, f"{message}\n")


@pytest.mark.parametrize(
    "host", ["ssh://me@far:22/run/docker.sock", "ssh://[::1]", "tcp://[::1]:2375/below", "http+unix://%2Fx", "fd://3"]
)
def test_hosts_that_docker_takes(hostvm: Call, folder: str, host: str) -> None:
    assert hostvm("context", "create", "far", "--docker", f"host={host}").code == 0
    assert docker_contexts.find_host(folder, "far") == host


def test_the_context_of_the_option_is_the_current_one(hostvm: Call, folder: str) -> None:
    for name in ("far", "near"):
        hostvm("context", "create", name, "--docker", f"host=unix:///run/{name}.sock")
    hostvm("context", "use", "near")
    assert hostvm("-c", "far", "context", "show").out == "far\n"
    hostvm("-c", "far", "context", "create", "copy")
    assert docker_contexts.find_host(folder, "copy") == "unix:///run/far.sock"
    (shown,) = json.loads(hostvm("-c", "far", "context", "inspect").out)
    assert shown["Name"] == "far"
    table = hostvm("-c", "far", "context", "ls", "--format", "{{.Name}} {{.DockerEndpoint}}").out
    listed = dict(line.split() for line in table.splitlines())
    assert listed["far"] == "unix:///run/far.sock" != listed["default"]
    assert hostvm("-c", "far", "context", "rm", "far").err == 'context "far" is in use, set -f flag to force remove\n'
    assert hostvm("context", "show").out == "near\n"


def test_an_import_that_is_no_context(hostvm: Call, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("no archive")
    assert "unexpected context file" in hostvm("context", "import", "far", str(tmp_path / "x")).err


def test_a_command_by_context(hostvm: Call, start_engine: Callable[..., object], tmp_path: Path) -> None:
    hostvm("context", "create", "here", "--docker", f"host=unix://{tmp_path}/engine.sock")
    start_engine(replies={})
    assert hostvm("-H", "unix:///no/such.sock", "-c", "here", "ps", "-q").code == hostvm("ps", "-q").code
    assert "context not found" in hostvm("--context", "none", "ps").err


def test_the_folder_counts_wherever_it_stands(hostvm: Call, tmp_path: Path) -> None:
    """Docker's options have no order: the context is looked up in the folder that --config names after it."""
    other = str(tmp_path / "other")
    docker_contexts.write_context(
        other, {"Name": "there", "Endpoints": {"docker": {"Host": f"unix://{tmp_path}/none"}}}
    )
    assert "context not found" not in hostvm("-c", "there", "--config", other, "ps").err


def test_no_engine_is_blamed_for_a_missing_context(hostvm: Call) -> None:
    outcome = hostvm("-c", "none", "ps")
    assert (outcome.code, outcome.err.partition(":")[0]) == (1, 'context "none"')


@pytest.mark.parametrize("lost", ["meta.json", "tls"])
def test_a_removal_ends_with_nothing_left(hostvm: Call, folder: str, tmp_path: Path, lost: str) -> None:
    """Half a context has a private key still."""
    (tmp_path / "key").write_text("key")
    hostvm("context", "create", "far", "--docker", f"host=tcp://far:2376,key={tmp_path}/key")
    key = Path(f"{docker_contexts.tls_folder(folder, 'far')}/docker/key.pem")
    (Path(docker_contexts.context_file(folder, "far")) if lost == "meta.json" else key).unlink()
    assert hostvm("context", "rm", "-f", "far").code == 0
    assert [path for path in Path(folder).rglob("*") if path.is_file()] == []
    assert not key.parent.parent.exists()


@pytest.fixture
def secured(hostvm: Call, tmp_path: Path) -> str:
    """Makes the context "far", with certificates. The options of its endpoint."""
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(name)
    options = f"host=tcp://far:2376,ca={tmp_path}/ca,cert={tmp_path}/cert,key={tmp_path}/key,skip-tls-verify=true"
    assert hostvm("context", "create", "far", "--description", "Far away", "--docker", options).code == 0
    return options


def endpoint(folder: str, name: str) -> tuple[dict[str, object], dict[str, str]]:
    """What the store has of it."""
    files = Path(docker_contexts.tls_folder(folder, name)).rglob("*.pem")
    document = docker_contexts.read_context(folder, name)
    return docker_contexts.endpoint_of(document), {file.name: file.read_text() for file in files}


SECURED = (
    {"Host": "tcp://far:2376", "SkipTLSVerify": True},
    {"ca.pem": "ca", "cert.pem": "cert", "key.pem": "key"},
)


@pytest.mark.parametrize(
    "words",
    [
        ("create", "near", "--from", "far"),
        ("create", "near", "--docker", "from=far"),
        ("create", "near", "--docker", "from=far,host=tcp://elsewhere:1,ca=/nowhere"),
        ("update", "far", "--docker", "from=far"),
    ],
)
def test_an_endpoint_is_taken_over_with_its_certificates(
    hostvm: Call, folder: str, secured: str, words: tuple[str, ...]
) -> None:
    """Beside `from` docker heeds no other option."""
    assert hostvm("context", *words).code == 0
    assert endpoint(folder, words[1]) == SECURED


def test_a_context_is_copied_with_its_description(hostvm: Call, folder: str, secured: str) -> None:
    hostvm("context", "create", "near", "--from", "far")
    hostvm("context", "create", "mine", "--from", "far", "--description", "Mine")
    hostvm("context", "create", "bare", "--docker", "from=far")
    texts = [docker_contexts.read_context(folder, name)["Metadata"] for name in ("near", "mine", "bare")]
    assert texts == [{"Description": "Far away"}, {"Description": "Mine"}, {}]


def test_the_current_context_is_copied_where_nothing_else_is_named(
    hostvm: Call, folder: str, secured: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hostvm("context", "create", "own").code == 0
    hostvm("context", "use", "far")
    assert hostvm("context", "create", "near", "--description", "Near").code == 0
    assert endpoint(folder, "near") == SECURED
    monkeypatch.setenv("DOCKER_CONTEXT", "own")
    assert hostvm("context", "create", "other").code == 0
    assert endpoint(folder, "other") == endpoint(folder, "own")
    monkeypatch.setenv("DOCKER_CONTEXT", "none")
    assert hostvm("context", "create", "bad").err.startswith('context "none": context not found')
    (default,) = json.loads(hostvm("context", "inspect", "default").out)
    assert endpoint(folder, "own") == (default["Endpoints"]["docker"], {})
    assert docker_contexts.read_context(folder, "near")["Metadata"] == {"Description": "Near"}


def test_an_endpoint_is_replaced_as_a_whole(hostvm: Call, folder: str, secured: str, tmp_path: Path) -> None:
    """The old host's certificates are none of the new one's business; as docker 20.10 and 28 have it."""
    hostvm("context", "create", "near", "--from", "far")
    hostvm("context", "update", "far", "--docker", "host=tcp://other:2375")
    assert endpoint(folder, "far") == ({"Host": "tcp://other:2375", "SkipTLSVerify": False}, {})
    hostvm("context", "update", "far", "--docker", "from=near")
    assert endpoint(folder, "far") == SECURED
    hostvm("context", "update", "far", "--docker", f"host=tcp://x:1,ca={tmp_path}/ca")
    assert endpoint(folder, "far") == ({"Host": "tcp://x:1", "SkipTLSVerify": False}, {"ca.pem": "ca"})
    hostvm("context", "update", "far", "--description", "Only that")
    assert endpoint(folder, "far")[1] == {"ca.pem": "ca"}
    hostvm("context", "update", "far", "--docker", "skip-tls-verify=1")
    assert endpoint(folder, "far") == ({"SkipTLSVerify": True}, {})


def test_an_update_leaves_other_endpoints_alone(hostvm: Call, folder: str, secured: str) -> None:
    document = docker_contexts.read_context(folder, "far")
    docker_contexts.write_context(folder, {**document, "Endpoints": {"docker": {}, "kubernetes": {"Host": "k"}}})
    hostvm("context", "update", "far", "--docker", "host=tcp://x")
    endpoints = docker_contexts.read_context(folder, "far")["Endpoints"]
    assert endpoints == {"docker": {"Host": "tcp://x", "SkipTLSVerify": False}, "kubernetes": {"Host": "k"}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("host=tcp://x:1,ca=/nowhere", "open /nowhere: no such file or directory"),
        ("from=none", 'context "none": context not found'),
        ("hast=x", "hast: unrecognized config key"),
        ("host=x,skip-tls-verify=maybe", 'skip-tls-verify: strconv.ParseBool: parsing "maybe": invalid syntax'),
        ('host="a', 'unable to apply docker endpoint options: unable to parse docker host `"a`'),
        ("host=x", "unable to apply docker endpoint options: unable to parse docker host `x`"),
        ("host=tcp://", "unable to apply docker endpoint options: unable to parse docker host `tcp://`"),
        ("host=tcp:x,ca=/dev/null", "unable to apply docker endpoint options: unable to parse docker host `tcp:x`"),
    ],
)
def test_a_refused_endpoint_changes_nothing(
    hostvm: Call, folder: str, secured: str, options: str, message: str
) -> None:
    before = {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
    for verb in (("create", "bad"), ("update", "far")):
        outcome = hostvm("context", *verb, "--docker", options)
        assert outcome.code == 1
        assert outcome.err.startswith(f"unable to create docker endpoint config: {message}"), outcome
    assert {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()} == before


def test_a_copy_has_the_endpoint_of_what_it_copies(hostvm: Call, secured: str) -> None:
    outcome = hostvm("context", "create", "near", "--from", "far", "--docker", "host=tcp://x")
    assert (outcome.code, outcome.err) == (1, "cannot use --docker flag when --from is set\n")


def refuse(source: str, target: str) -> NoReturn:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("words", [("create", "near", "--from", "far"), ("import", "near")])
def test_no_key_stays_of_a_context_that_cannot_be_written(
    hostvm: Call, folder: str, secured: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = str(tmp_path / "far.dockercontext")
    hostvm("context", "export", "far", archive)
    monkeypatch.setattr("os.replace", refuse)
    outcome = hostvm("context", *words, *([archive] if words[0] == "import" else []))
    assert outcome.code == 1 and "No space left on device" in outcome.err
    (own,) = Path(folder, "contexts/tls").iterdir()
    assert str(own) == docker_contexts.tls_folder(folder, "far")
    assert len(list(Path(folder, "contexts/meta").iterdir())) == 1


@pytest.mark.parametrize(
    ("failing", "options"),
    [("document", "host=tcp://x:1"), ("document", "host=tcp://x:1,key=ca"), ("key", "host=tcp://x:1,ca=key,key=ca")],
)
def test_a_failed_update_loses_no_certificates(
    hostvm: Call,
    folder: str,
    secured: str,
    failing: str,
    options: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither where the context's document can't be written nor where the new certificates can't."""
    monkeypatch.chdir(tmp_path)
    before = {path: path.is_dir() or path.read_bytes() for path in Path(folder).rglob("*")}
    if failing == "document":
        monkeypatch.setattr("os.replace", refuse)
    else:
        usual = os.open

        def open_no_key(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            return refuse(path, "") if path.endswith("key.pem") else usual(path, flags, mode, dir_fd=dir_fd)

        monkeypatch.setattr("os.open", open_no_key)
    outcome = hostvm("context", "update", "far", "--docker", options)
    assert outcome.code == 1 and "No space left on device" in outcome.err
    assert {path: path.is_dir() or path.read_bytes() for path in Path(folder).rglob("*")} == before


def test_a_replaced_configuration_keeps_its_owner(
    hostvm: Call, folder: str, secured: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as this user may: root on another's config.json."""
    config = Path(folder, "config.json")
    config.write_text("{}")
    owners: list[tuple[int, int]] = []

    def change_owner(descriptor: int, owner: int, group: int) -> None:
        owners.append((owner, group))
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.fchown", change_owner)
    assert hostvm("context", "use", "far").code == 0
    assert owners == [(config.stat().st_uid, config.stat().st_gid)]
    assert json.loads(config.read_text()) == {"currentContext": "far"}
