"""The server goes and comes again: by force, in good order, or not for a long time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.behaviour.harness.waiting import wait_for
from tests.behaviour.shares.stage import Stage


def test_a_server_that_was_killed_is_replaced(share: Stage) -> None:
    """Open files, working directories and mounts of containers go on with the next one."""
    Path(share.guest, "d/e").mkdir(parents=True)
    folder = os.open(f"{share.guest}/d/e", os.O_RDONLY)
    with open(f"{share.guest}/d/e/file", "w+") as opened:
        opened.write("before\n")
        opened.flush()
        share.end_server(by_force=True)
        share.start_server()
        opened.write("after\n")
        opened.flush()
        opened.seek(0)
        assert opened.read() == "before\nafter\n"
    assert os.listdir(folder) == ["file"]
    os.close(os.open("made", os.O_CREAT, dir_fd=folder))
    os.close(folder)
    assert sorted(os.listdir(f"{share.host}/d/e")) == ["file", "made"]


def test_an_orderly_end_loses_no_operation(share: Stage) -> None:
    """What isn't safe to repeat, too: each folder is made exactly once."""
    script = f"""
import os
os.chdir({share.guest!r})
for number in range(3000):
    os.mkdir(f"d{{number}}")
    os.rename(f"d{{number}}", f"e{{number}}")
    open("log", "a").write(f"{{number}}\\n")
"""
    worker = subprocess.Popen([sys.executable, "-c", script])
    for _ in range(5):
        time.sleep(0.3)
        share.end_server()
        share.start_server()
    assert worker.wait(60) == 0
    assert len(os.listdir(share.host)) == 3001
    assert Path(share.host, "log").read_text().split() == [str(number) for number in range(3000)]


def test_kills_under_load_corrupt_nothing(share: Stage) -> None:
    """A reply cut in the middle is never taken for data; what could be done twice isn't done again but refused."""
    content = os.urandom(8 << 20)
    Path(share.host, "large").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    wrong: list[str] = []
    ended = threading.Event()

    def read() -> None:
        command = ["sh", "-c", f"dd if='{share.guest}/large' bs=64k iflag=nofollow 2>/dev/null | sha256sum"]
        while not ended.is_set():
            found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()[0]
            if found != digest:
                wrong.append(found)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(12):
        time.sleep(0.1 + 0.03 * (number % 5))
        share.end_server(by_force=True)
        share.start_server()
    time.sleep(1)
    ended.set()
    for reader in readers:
        reader.join(60)
    assert not wrong


def test_requests_wait_for_a_server(share: Stage) -> None:
    share.end_server()
    started = time.monotonic()
    reader = subprocess.Popen(["stat", share.guest], stdout=subprocess.DEVNULL)
    time.sleep(1)
    assert reader.poll() is None
    share.start_server()
    assert reader.wait(10) == 0 and time.monotonic() - started >= 1


def test_without_a_journal_the_kernel_walks_anew(share: Stage) -> None:
    Path(share.host, "file").write_text("x")
    assert Path(share.guest, "file").read_text() == "x"
    share.end_server(by_force=True)
    os.unlink(f"{share.folder}/state/journal")
    share.start_server()
    assert Path(share.guest, "file").read_text() == "x"


def test_a_full_disk_comes_through(share: Stage) -> None:
    os.mkdir(f"{share.host}/small")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", f"{share.host}/small"], check=True)
    try:
        with pytest.raises(OSError, match="No space left"):
            Path(share.guest, "small/file").write_bytes(bytes(2 << 20))
        remount = ["mount", "-o", "remount,ro", f"{share.host}/small"]
        # The kernel tells the server in its own time that a file was closed (fuse: RELEASE has no answer to wait for).
        wait_for(lambda: subprocess.run(remount, check=False, stderr=subprocess.DEVNULL).returncode == 0, "no writer")
        with pytest.raises(OSError, match="Read-only file system"):
            Path(share.guest, "small/other").touch()
        with pytest.raises(OSError, match="cross-device"):
            os.rename(f"{share.guest}/small/file", f"{share.guest}/file")
    finally:
        subprocess.run(["umount", f"{share.host}/small"], check=True)


def test_a_relay_that_died_is_replaced(share: Stage) -> None:
    """Containers that run lose their share with it; those that start find it."""
    Path(share.guest, "file").write_text("before")
    for _ in range(3):
        share.replace_relay()
        assert Path(share.guest, "file").read_text() == "before"
    share.end_server(by_force=True)
    share.start_server()
    Path(share.guest, "file").write_text("after")
    assert Path(share.host, "file").read_text() == "after"
