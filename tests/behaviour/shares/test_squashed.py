"""The server is a plain user: inside, the user's files are root's, and a chown is kept beside the file."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.behaviour.shares.stage import NOBODY, Stage


def ids(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_uid, found.st_gid


def test_the_users_files_are_roots(squashed: Stage) -> None:
    Path(squashed.guest, "file").write_text("x")
    os.mkdir(f"{squashed.guest}/d")
    os.symlink("file", f"{squashed.guest}/link")
    for name in ("file", "d", "link"):
        assert ids(f"{squashed.guest}/{name}") == (0, 0)
        assert ids(f"{squashed.host}/{name}") == (NOBODY, NOBODY)
    Path(squashed.host, "of the host's root").touch()
    assert ids(f"{squashed.guest}/of the host's root") == (NOBODY, NOBODY)


@pytest.mark.parametrize("mode", [0o644, 0o400, 0o000])
def test_a_chown_is_kept(squashed: Stage, mode: int) -> None:
    file = f"{squashed.guest}/file"
    Path(file).touch()
    os.chmod(file, mode)
    os.chown(file, 999, 998)
    if mode:
        assert ids(file) == (999, 998)
    assert ids(f"{squashed.host}/file") == (NOBODY, NOBODY)
    assert stat.S_IMODE(os.stat(f"{squashed.host}/file").st_mode) == mode
    os.chmod(file, 0o644)
    assert ids(file) == (999, 998) and os.listxattr(file) == []
    os.chown(file, -1, 5)
    assert ids(file) == (999, 5)
    os.rename(file, f"{file}2")
    assert ids(f"{file}2") == (999, 5)


def test_chown_of_links_and_fifos_succeeds(squashed: Stage) -> None:
    os.symlink("x", f"{squashed.guest}/link")
    os.mkfifo(f"{squashed.guest}/fifo")
    for name in ("link", "fifo"):
        os.chown(f"{squashed.guest}/{name}", 999, 999, follow_symlinks=False)


def test_the_attribute_is_nobodys_business(squashed: Stage) -> None:
    Path(squashed.guest, "file").touch()
    with pytest.raises(PermissionError):
        os.setxattr(f"{squashed.guest}/file", "user.hostvm.owner", b"5:5")


def test_a_database_finds_its_folder_its_own(squashed: Stage) -> None:
    """As the entry points of postgres and mysql do: made by root, given away, used by another user."""
    os.mkdir(f"{squashed.guest}/data", 0o700)
    os.chown(f"{squashed.guest}/data", 999, 999)
    script = f"""
import os, stat
os.setgroups([]); os.setgid(999); os.setuid(999)
os.chdir({squashed.guest + "/data"!r})
found = os.stat(".")
assert found.st_uid == os.geteuid() and not found.st_mode & 0o077, found
open("PG_VERSION", "w").write("15")
os.mkdir("base", 0o700)
os.chmod("base", 0o750)
found = os.stat("PG_VERSION")
assert (found.st_uid, found.st_gid) == (999, 999), found
fd = os.open("wal", os.O_RDWR | os.O_CREAT, 0o600)
os.posix_fallocate(fd, 0, 1 << 20); os.fsync(fd)
os.rename("wal", "wal.0")
try:
    os.chown("base", 5, 5)
    raise SystemExit("gave it away")
except PermissionError:
    pass
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert ids(f"{squashed.host}/data/PG_VERSION") == (NOBODY, NOBODY)


def test_any_user_inside_may_write(squashed: Stage) -> None:
    """An image whose user isn't root works in the user's project, as it would with equal ids on Linux."""
    script = f"import os; os.setgid(1000); os.setuid(1000); open({squashed.guest + '/made'!r}, 'w').write('x')"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert ids(f"{squashed.guest}/made") == (1000, 1000) and ids(f"{squashed.host}/made") == (NOBODY, NOBODY)


def test_what_the_user_may_not_is_refused(squashed: Stage) -> None:
    Path(squashed.host, "roots").write_text("x")
    os.chmod(f"{squashed.host}/roots", 0o600)
    with pytest.raises(PermissionError):
        Path(squashed.guest, "roots").read_text()
    with pytest.raises(PermissionError):
        os.chmod(f"{squashed.guest}/roots", 0o777)
    with pytest.raises(PermissionError):
        os.chown(f"{squashed.guest}/roots", 0, 0)


def test_git_and_tar_work(squashed: Stage) -> None:
    script = """
mkdir src && touch src/a src/b && chown -R 1000:1000 src && tar cf x.tar src && rm -r src && tar xpf x.tar
stat -c %u:%g src/a
git init -q repo && cd repo && git config user.email a@b && git config user.name n
echo x > f && git add . && git commit -q -m m && git fsck && git status --porcelain
"""
    done = subprocess.run(["sh", "-ec", script], cwd=squashed.guest, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["1000:1000"]), done.stderr
