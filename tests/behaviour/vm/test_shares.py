"""Which host folders a container may have: those on the user's list, and the error that names the way for others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.behaviour.harness.vm import NAME, VmMachine


def test_an_unshared_folder_is_an_error_that_names_the_way(vm: VmMachine) -> None:
    complaint = vm.fails(125, "run", "--rm", "-v", "/usr/share:/src", "busybox", "ls", "/src")
    assert "the path /usr/share is not shared with the machine" in complaint
    assert f"hint: hostvm machine set --share /usr/share {NAME}" in complaint
    assert vm.containers() == []
    vm("machine", "set", "--share", "/usr/share", NAME)
    assert "doc" in vm("run", "--rm", "-v", "/usr/share:/src:ro", "busybox", "ls", "/src").split()


def test_a_folder_taken_off_the_list(vm: VmMachine) -> None:
    vm("machine", "set", "--share", "/usr/share", NAME)
    vm("run", "-d", "--name", "user", "-v", "/usr/share:/src:ro", "busybox", "sleep", "3600")
    vm("machine", "set", "--unshare", "/usr/share", NAME)
    assert vm.attempt("exec", "user", "ls", "/src/doc").code != 0
    assert "not shared" in vm.fails(125, "run", "--rm", "-v", "/usr/share:/src", "busybox", "true")


def test_a_link_leads_nowhere_else(vm: VmMachine, tmp_path: Path) -> None:
    """A link in a shared folder is followed where the container is, not on the host."""
    (tmp_path / "out").symlink_to("/etc")
    (tmp_path / "up").symlink_to("../" * 20 + "etc")
    script = "cat /src/out/os-release /src/up/os-release; ls /src/out/hostvm 2>&1"
    seen = vm.attempt("run", "--rm", "-v", f"{tmp_path}:/src", "busybox", "sh", "-c", script)
    host = Path("/etc/os-release").read_text()
    assert host not in seen.out
    assert "not shared" in vm.fails(125, "run", "--rm", "-v", f"{tmp_path}/out:/src", "busybox", "true")


@pytest.mark.usefixtures("with_debian")
def test_docker_s_socket_is_the_machine_s_own(vm: VmMachine) -> None:
    """What tools with `-v /var/run/docker.sock` mean is the engine that they run in."""
    words = ("-v", "/var/run/docker.sock:/var/run/docker.sock", "debian:bookworm", "perl", "-e", ASK_FOR_PING)
    assert "200 OK" in vm("run", "--rm", *words)


ASK_FOR_PING = r"""
use IO::Socket::UNIX;
my $engine = IO::Socket::UNIX->new(Peer => "/var/run/docker.sock") or die $!;
print $engine "GET /_ping HTTP/1.0\r\n\r\n";
print while <$engine>;
"""
