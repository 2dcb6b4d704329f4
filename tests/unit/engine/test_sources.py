"""Bind sources: on the host itself as they are, in a machine below the share, links and missing folders included."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from guest_agent.engine.sources import BindSources
from guest_agent.wire.errors import Forbidden, HostFailed, InvalidArgument


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Stands for the share: the host's root."""
    home = tmp_path / "files/home/me"
    (home / "project").mkdir(parents=True)
    (home / "link").symlink_to("/home/me/project")
    (home / "out").symlink_to("/etc")
    (home / "up").symlink_to("../../../../etc")
    return tmp_path / "files"


def sources(files: Path) -> BindSources:
    return BindSources(str(files), "/run/hostvm/engine.sock")


def test_on_the_host_itself_a_source_is_what_it_says(tmp_path: Path) -> None:
    native = BindSources("", "/run/engine.sock")
    assert native.find(str(tmp_path)) == str(tmp_path)
    assert native.find(f"{tmp_path}/none") is None
    native.make(f"{tmp_path}/a/b")
    assert (tmp_path / "a/b").is_dir()


def test_in_a_machine_it_lies_below_the_share(files: Path) -> None:
    assert sources(files).find("/home/me/project") == f"{files}/home/me/project"
    assert sources(files).find("/home/me/none") is None
    assert sources(files).find("/home/me/project/none/below") is None


def test_links_lead_where_they_lead_on_the_host(files: Path) -> None:
    assert sources(files).find("/home/me/link") == f"{files}/home/me/project"
    assert sources(files).find("/home/me/out") is None, "the machine's own /etc was found"
    assert sources(files).find("/home/me/up") is None
    sources(files).make("/home/me/link/new/folder")
    assert (files / "home/me/project/new/folder").is_dir()


def test_a_link_to_nowhere_makes_nothing_in_the_machine(files: Path, tmp_path: Path) -> None:
    (files / "home/me/away").symlink_to(f"{tmp_path}/target")
    with pytest.raises(InvalidArgument, match="creating mount source path '/home/me/away/x'"):
        sources(files).make("/home/me/away/x")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("name", ["/var/run/docker.sock", "/run/docker.sock"])
def test_the_engines_socket_by_dockers_names(files: Path, tmp_path: Path, name: str) -> None:
    socket = tmp_path / "engine.sock"
    socket.touch()
    assert BindSources(str(files), str(socket)).find(name) == str(socket)
    assert BindSources(str(files), str(socket)).plan_own("/var/run/other.sock") is None


def test_the_kernels_file_systems_are_the_machines(files: Path) -> None:
    assert sources(files).find("/proc") == "/proc"
    assert sources(files).find("/dev/null") == "/dev/null"
    assert sources(files).find("/devices") is None


@pytest.mark.parametrize(("number", "kind"), [(13, Forbidden), (5, HostFailed)])
def test_what_the_share_refuses(
    files: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def refuse(root: str, path: str, flags: int) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("guest_agent.engine.sources.open_in_root", refuse)
    with pytest.raises(kind) as caught:
        sources(files).find("/etc")
    assert getattr(caught.value, "hint", "") == ("hostvm machine set --share /etc" if kind is Forbidden else "")


def test_a_source_that_went(files: Path) -> None:
    with pytest.raises(InvalidArgument, match="bind source path does not exist: /home/me/gone"):
        sources(files).need("/home/me/gone")


def test_no_name_at_all(files: Path) -> None:
    with pytest.raises(InvalidArgument):
        sources(files).find("/home/\0")
