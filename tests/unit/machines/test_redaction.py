"""What leaves the host in a bundle: planted secrets don't, and what a reader needs does."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.wire.errors import HostFailed
from hostvm.machines.bundle import MOST_OF_A_LOG, read_tail, write_bundle
from hostvm.machines.redaction import GONE, redact

SECRET = "hunter2hunter2"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\nAAAA\n-----END OPENSSH PRIVATE KEY-----"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"authorization: Basic {SECRET}==",
        f"> X-Registry-Auth: {SECRET}",
        f"Cookie: a=b; session={SECRET}",
        f'{{"Authorization": "Bearer {SECRET}", "x": 1}}',
        f"got 401 for Bearer {SECRET}",
        f"GET https://user:{SECRET}@registry.example/v2/",
        f"GET /blob?token={SECRET}&x=1",
        f"GET /blob?X-Amz-Signature={SECRET}",
        f'"password": "{SECRET} with spaces"',
        f"'password': '{SECRET} with spaces'",
        f'{{\\"identitytoken\\":\\"{SECRET}\\"}}',
        f"password={SECRET}",
        f"db_password = {SECRET}",
        f"--password {SECRET}",
        f"--registry-token={SECRET}",
        f"MYSQL_ROOT_PASSWORD={SECRET}",
        f'"Env":["PATH=/bin","GREETING={SECRET}"]',
        f'"Env":["GREETING={SECRET} and more {SECRET}"]',
        f"run -e API={SECRET} image",
        f"-e GREETING='{SECRET} {SECRET}'",
        f"eyJhbGciOiJIUzI1NiJ9.eyJ{SECRET}.{SECRET}",
        f"ghp_{SECRET}{SECRET}",
        KEY.replace("AAAA", SECRET),
        f"log cut off\n{SECRET}\n-----END RSA PRIVATE KEY-----\nrest",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
    ],
)
def test_a_secret_goes(text: str) -> None:
    assert SECRET not in redact(text)
    assert GONE in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "[    0.000000] Linux version 6.12.117+deb12-cloud-amd64 (gcc-12)",
        "Command line: console=ttyS0 panic=-1 rdinit=/usr/bin/python3",
        "HOSTVM_DATA=/var/lib/hostvm PATH=/usr/bin:/bin",
        "GET /v1.44/containers/json?all=1 200 3 ms",
        "FAIL supervisor: it runs, and doesn't answer",
        'OSError: [Errno 28] No space left on device: "/var/lib/hostvm/engine.db"',
        '{"name": "vm", "cpus": 4, "shares": ["/home/user/src"]}',
        "the author of this is known, passing by",
    ],
)
def test_what_a_reader_needs_stays(text: str) -> None:
    assert redact(text) == text


@given(st.text(st.sampled_from("ab=: \"'\\\n-AZ_pasword"), max_size=60))
def test_twice_is_as_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_a_bundle_has_a_listing_and_no_secrets(tmp_path: Path) -> None:
    path = tmp_path / "report.tar.gz"
    documents = {"guest.log": f"a line\nAuthorization: Bearer {SECRET}\n{KEY}\nthe end\n", "host.txt": "hostvm\n"}
    listing = write_bundle(str(path), documents)
    with tarfile.open(path) as archive:
        contents = {member.name: read(archive, member) for member in archive}
    assert sorted(contents) == [f"hostvm-bundle/{name}" for name in ("LISTING.txt", "guest.log", "host.txt")]
    assert SECRET not in "".join(contents.values()) and "b3BlbnNzaC1rZXk" not in "".join(contents.values())
    assert contents["hostvm-bundle/guest.log"].startswith("a line\n")
    assert contents["hostvm-bundle/guest.log"].endswith("the end\n")
    assert [line.split()[1] for line in listing] == ["guest.log", "host.txt"]
    assert contents["hostvm-bundle/LISTING.txt"].splitlines() == listing
    assert path.stat().st_mode & 0o777 == 0o600


def read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = archive.extractfile(member)
    assert file is not None
    return file.read().decode()


def test_a_bundle_that_cant_be_written(tmp_path: Path) -> None:
    with pytest.raises(HostFailed, match="cannot write"):
        write_bundle(str(tmp_path / "none" / "report.tar.gz"), {})


def test_a_long_logs_end_is_taken_from_a_lines_start_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"password=" + b"x" * MOST_OF_A_LOG + b"\nlast\n")
    assert read_tail(str(log)) == "last\n"
    assert read_tail(str(tmp_path / "none")) is None
