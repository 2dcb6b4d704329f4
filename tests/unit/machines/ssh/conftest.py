"""An SSH server, and a transport to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from hostvm.machines.ssh.client import open_transport
from hostvm.machines.ssh.keys import KeyPair, make_key_pair
from tests.unit.machines.ssh.ssh_server import Server, serving


@pytest.fixture(scope="session")
def host_key() -> KeyPair:
    return make_key_pair()


@pytest.fixture(scope="session")
def user_key() -> KeyPair:
    return make_key_pair()


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """The folder that is the root of the guest's files."""
    folder = tmp_path / "guest"
    folder.mkdir()
    return folder


@pytest.fixture
def connected(host_key: KeyPair, user_key: KeyPair, guest: Path) -> Iterator[tuple[paramiko.Transport, Server]]:
    with serving(host_key, user_key, str(guest)) as (stream, server):
        transport = open_transport(stream, "root", user_key, host_key, 10)
        yield transport, server
        transport.close()


@pytest.fixture
def transport(connected: tuple[paramiko.Transport, Server]) -> paramiko.Transport:
    return connected[0]
