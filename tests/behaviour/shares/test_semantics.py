"""What programs expect of a file system: each test runs on a plain folder and through a share, and holds for both."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

libc = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE = 1, 2
PUNCH_HOLE, KEEP_SIZE, ZERO_RANGE = 2, 1, 0x10


def rename2(old: Path, new: Path, flags: int) -> int:
    """0 or the error's number."""
    result = libc.renameat2(-100, bytes(old), -100, bytes(new), ctypes.c_uint(flags))
    return 0 if result == 0 else ctypes.get_errno()


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> int:
    result = libc.fallocate64(descriptor, mode, ctypes.c_int64(offset), ctypes.c_int64(length))
    return 0 if result == 0 else ctypes.get_errno()


def test_write_and_read(folder: Path) -> None:
    file = folder / "file"
    file.write_bytes(b"one\n")
    assert file.read_bytes() == b"one\n"
    file.write_bytes(b"two, longer\n")
    assert file.read_bytes() == b"two, longer\n" and file.stat().st_size == 12
    file.unlink()
    assert not file.exists()


@pytest.mark.parametrize(
    "name", [b"with space", b"\xff\xfe not utf-8", b"new\nline", b"x" * 255, "kräftig 猫".encode(), b"...", b"-rf"]
)
def test_odd_names(folder: Path, name: bytes) -> None:
    path = bytes(folder) + b"/" + name
    with open(path, "wb") as file:
        file.write(b"content")
    assert os.listdir(bytes(folder)) == [name]
    with open(path, "rb") as file:
        assert file.read() == b"content"
    os.rename(path, path[:-1] + b"_")
    os.unlink(path[:-1] + b"_")


def test_a_name_that_is_too_long(folder: Path) -> None:
    with pytest.raises(OSError) as caught:
        (folder / ("x" * 256)).write_bytes(b"")
    assert caught.value.errno == errno.ENAMETOOLONG


def test_deep_paths(folder: Path) -> None:
    deep = folder / "/".join(["d" * 100] * 12)
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    assert (deep / "file").read_text() == "deep"


def test_folders(folder: Path) -> None:
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/file").touch()
    with pytest.raises(OSError) as caught:
        (folder / "a").rmdir()
    assert caught.value.errno == errno.ENOTEMPTY
    with pytest.raises(FileExistsError):
        (folder / "a").mkdir()
    with pytest.raises(NotADirectoryError):
        (folder / "a/file/x").touch()
    with pytest.raises(IsADirectoryError):
        (folder / "a").write_text("")
    (folder / "a/b").rmdir()
    assert sorted(os.listdir(folder / "a")) == ["file"]
    assert (folder / "a").stat().st_nlink >= 1


def test_many_entries_are_listed_once_each(folder: Path) -> None:
    names = {f"file {number} with a long name to fill the buffer" for number in range(1500)}
    for name in names:
        (folder / name).touch()
    listed = os.listdir(folder)
    assert len(listed) == 1500 and set(listed) == names
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            os.unlink(entry.path)
            assert number < 1500
    assert os.listdir(folder) == []


def test_the_kinds_in_a_listing(folder: Path) -> None:
    (folder / "folder").mkdir()
    (folder / "file").touch()
    (folder / "link").symlink_to("file")
    os.mkfifo(folder / "fifo")
    with os.scandir(folder) as entries:
        kinds = {one.name: (one.is_dir(follow_symlinks=False), one.is_file(follow_symlinks=False), one.is_symlink(),
                            one.inode() == os.lstat(one.path).st_ino) for one in entries}  # fmt: skip
    assert kinds == {
        "folder": (True, False, False, True),
        "file": (False, True, False, True),
        "link": (False, False, True, True),
        "fifo": (False, False, False, True),
    }


def test_a_listing_has_its_dots(folder: Path) -> None:
    done = subprocess.run(["ls", "-a", folder], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [".", ".."]


def test_rewinding_a_listing(folder: Path) -> None:
    """A second pass over the same open folder sees what was made meanwhile."""
    (folder / "one").touch()
    descriptor = os.open(folder, os.O_RDONLY)
    assert os.listdir(descriptor) == ["one"]
    (folder / "two").touch()
    assert sorted(os.listdir(descriptor)) == ["one", "two"]
    os.close(descriptor)


def test_symbolic_links(folder: Path) -> None:
    (folder / "file").write_text("target")
    (folder / "relative").symlink_to("file")
    (folder / "absolute").symlink_to("/etc/hostname")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    assert (folder / "relative").read_text() == "target"
    assert os.readlink(folder / "absolute") == "/etc/hostname"
    assert (folder / "absolute").lstat().st_size == len("/etc/hostname")
    with pytest.raises(FileNotFoundError):
        (folder / "dangling").read_text()
    with pytest.raises(OSError) as caught:
        (folder / "loop").read_text()
    assert caught.value.errno == errno.ELOOP
    long_target = "x" * 1000
    (folder / "long").symlink_to(long_target)
    assert os.readlink(folder / "long") == long_target
    os.chown(folder / "relative", 5, 6, follow_symlinks=False)
    os.utime(folder / "relative", ns=(1, 2), follow_symlinks=False)
    found = (folder / "relative").lstat()
    assert (found.st_uid, found.st_gid, found.st_mtime_ns) == (5, 6, 2)
    assert (folder / "file").stat().st_uid == 0


def test_hard_links(folder: Path) -> None:
    first, second, third = folder / "first", folder / "second", folder / "third"
    first.write_text("shared")
    os.link(first, second)
    assert second.stat().st_ino == first.stat().st_ino and second.stat().st_nlink == 2
    with open(second, "r+") as file:
        first.unlink()
        assert os.fstat(file.fileno()).st_nlink == 1
        file.write("SHARED")
        file.flush()
        assert second.read_text() == "SHARED"
        second.rename(third)
        file.seek(0)
        assert file.read() == "SHARED"
    os.link(third, first)
    third.unlink()
    assert first.read_text() == "SHARED" and first.stat().st_nlink == 1
    with pytest.raises(FileExistsError):
        os.link(first, first)
    with pytest.raises(PermissionError):
        (folder / "d").mkdir()
        os.link(folder / "d", folder / "e")


def test_rename(folder: Path) -> None:
    (folder / "a").write_text("a")
    (folder / "b").write_text("b")
    with open(folder / "b") as replaced:
        (folder / "a").rename(folder / "b")
        assert replaced.read() == "b", "the file that was replaced while open"
        assert os.fstat(replaced.fileno()).st_nlink == 0
    assert (folder / "b").read_text() == "a" and os.listdir(folder) == ["b"]
    (folder / "d/e").mkdir(parents=True)
    (folder / "d/e/deep").write_text("deep")
    (folder / "d").rename(folder / "f")
    assert (folder / "f/e/deep").read_text() == "deep"
    with pytest.raises(OSError) as caught:
        (folder / "f").rename(folder / "f/e/g")
    assert caught.value.errno == errno.EINVAL
    (folder / "full").mkdir()
    (folder / "full/x").touch()
    with pytest.raises(OSError) as caught:
        (folder / "f").rename(folder / "full")
    assert caught.value.errno == errno.ENOTEMPTY
    os.link(folder / "b", folder / "same")
    (folder / "b").rename(folder / "same")
    assert (folder / "b").exists() and (folder / "same").exists(), "POSIX: two names of one file stay"


def test_rename_with_flags(folder: Path) -> None:
    (folder / "a").write_text("a")
    (folder / "b").write_text("b")
    (folder / "d").mkdir()
    assert rename2(folder / "a", folder / "b", NOREPLACE) == errno.EEXIST
    assert rename2(folder / "a", folder / "c", NOREPLACE) == 0
    assert rename2(folder / "c", folder / "b", EXCHANGE) == 0
    assert ((folder / "c").read_text(), (folder / "b").read_text()) == ("b", "a")
    assert rename2(folder / "c", folder / "d", EXCHANGE) == 0
    assert (folder / "c").is_dir() and (folder / "d").read_text() == "b"
    (folder / "c/new").touch()
    assert rename2(folder / "none", folder / "c", EXCHANGE) == errno.ENOENT


def test_modes_and_the_umask(folder: Path) -> None:
    before = os.umask(0o027)
    try:
        os.close(os.open(folder / "file", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkdir(folder / "d", 0o777)
        os.mkfifo(folder / "fifo", 0o666)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((folder / name).stat().st_mode) for name in ("file", "d", "fifo")]
    assert modes == [0o640, 0o750, 0o640]
    for mode in (0o000, 0o444, 0o4755, 0o2711, 0o1777, 0o600):
        (folder / "file").chmod(mode)
        assert stat.S_IMODE((folder / "file").stat().st_mode) == mode


def test_a_file_that_is_made_read_only_can_be_written_by_who_made_it(folder: Path) -> None:
    """git does so with its objects."""
    descriptor = os.open(folder / "object", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o444)
    assert os.write(descriptor, b"data") == 4
    os.close(descriptor)
    assert (folder / "object").read_text() == "data"
    assert stat.S_IMODE((folder / "object").stat().st_mode) == 0o444


def test_owners_and_inherited_groups(folder: Path) -> None:
    (folder / "file").touch()
    os.chown(folder / "file", 1234, 4321)
    found = (folder / "file").stat()
    assert (found.st_uid, found.st_gid) == (1234, 4321)
    os.chown(folder / "file", -1, 5)
    assert (folder / "file").stat().st_uid == 1234
    (folder / "team").mkdir()
    os.chown(folder / "team", 0, 777)
    (folder / "team").chmod(0o2775)
    (folder / "team/file").touch()
    (folder / "team/d").mkdir()
    assert (folder / "team/file").stat().st_gid == 777
    assert (folder / "team/d").stat().st_gid == 777 and (folder / "team/d").stat().st_mode & stat.S_ISGID


def test_permissions_hold_for_others(folder: Path) -> None:
    """A container's user that isn't root is refused what it would be refused on the host."""
    (folder / "secret").write_text("secret")
    (folder / "secret").chmod(0o600)
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    folder.chmod(0o755)
    script = f"""
import os
os.setgroups([]); os.setgid(1000); os.setuid(1000)
os.chdir({str(folder)!r})
for path in ("secret", "new"):
    try:
        open(path, "w" if path == "new" else "r")
        print("opened")
    except PermissionError:
        print("refused")
open("open/mine", "w").write("mine")
found = os.stat("open/mine")
print(found.st_uid, found.st_gid)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused", "refused", "1000", "1000"]


def test_set_user_id_goes_with_a_write(folder: Path) -> None:
    (folder / "program").write_text("x")
    (folder / "program").chmod(0o6777)
    folder.chmod(0o755)
    script = (
        f"import os; os.setgid(1000); os.setuid(1000); fd = os.open({str(folder / 'program')!r}, os.O_WRONLY);"
        "os.write(fd, b'y')"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert stat.S_IMODE((folder / "program").stat().st_mode) == 0o777


def test_times(folder: Path) -> None:
    file = folder / "file"
    file.touch()
    os.utime(file, ns=(1_000_000_001, 1_600_000_000_123_456_789))
    found = file.stat()
    assert (found.st_atime_ns, found.st_mtime_ns) == (1_000_000_001, 1_600_000_000_123_456_789)
    os.utime(file, ns=(-5_000_000_000, -1_500_000_000))
    assert file.stat().st_mtime_ns == -1_500_000_000
    os.utime(file)
    assert abs(file.stat().st_mtime - found.st_ctime) < 60
    before = file.stat().st_mtime_ns
    file.write_text("later")
    assert file.stat().st_mtime_ns >= before
    descriptor = os.open(file, os.O_RDONLY)
    os.utime(descriptor, ns=(7, 8))
    assert os.fstat(descriptor).st_mtime_ns == 8
    os.close(descriptor)


def test_truncation(folder: Path) -> None:
    file = folder / "file"
    file.write_bytes(b"0123456789")
    os.truncate(file, 4)
    assert file.read_bytes() == b"0123"
    os.truncate(file, 6)
    assert file.read_bytes() == b"0123\0\0"
    with open(file, "r+b") as opened:
        opened.truncate(2)
        assert file.stat().st_size == 2
    with open(file, "wb"):
        assert file.stat().st_size == 0
    with pytest.raises(OSError) as caught:
        os.truncate(folder, 0)
    assert caught.value.errno == errno.EISDIR


def test_exclusive_creation(folder: Path) -> None:
    os.close(os.open(folder / "lock", os.O_CREAT | os.O_EXCL))
    with pytest.raises(FileExistsError):
        os.open(folder / "lock", os.O_CREAT | os.O_EXCL)
    (folder / "link").symlink_to("other")
    with pytest.raises(FileExistsError):
        os.open(folder / "link", os.O_CREAT | os.O_EXCL)
    (folder / "link").write_text("through the link")
    assert (folder / "other").read_text() == "through the link"


def test_appending_by_two(folder: Path) -> None:
    first, second = (os.open(folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT) for _ in range(2))
    for number in range(20):
        os.write(first, b"first %d\n" % number)
        os.write(second, b"second %d\n" % number)
    os.close(first)
    os.close(second)
    lines = (folder / "log").read_text().splitlines()
    assert len(lines) == 40 and lines[:2] == ["first 0", "second 0"]


def test_a_large_file(folder: Path) -> None:
    block = os.urandom(1 << 20)
    with open(folder / "large", "wb") as file:
        for _ in range(24):
            file.write(block)
        os.fsync(file.fileno())
    with open(folder / "large", "rb") as file:
        while data := file.read(1 << 20):
            assert data == block
    with open(folder / "large", "r+b") as file:
        file.seek(5_000_003)
        file.write(b"in the middle")
        file.seek(5_000_000)
        assert file.read(20)[3:16] == b"in the middle"


def test_beyond_four_gigabytes(folder: Path) -> None:
    with open(folder / "far", "wb") as file:
        file.seek(5 << 30)
        file.write(b"end")
    found = (folder / "far").stat()
    assert found.st_size == (5 << 30) + 3 and found.st_blocks < 1000
    with open(folder / "far", "rb") as file:
        file.seek(5 << 30)
        assert file.read() == b"end"


def test_holes(folder: Path) -> None:
    with open(folder / "sparse", "w+b") as file:
        descriptor = file.fileno()
        os.ftruncate(descriptor, 1 << 20)
        os.pwrite(descriptor, b"x" * 4096, 512 << 10)
        os.fsync(descriptor)
        assert os.lseek(descriptor, 0, os.SEEK_DATA) == 512 << 10
        assert os.lseek(descriptor, 512 << 10, os.SEEK_HOLE) == (512 << 10) + 4096
        with pytest.raises(OSError) as caught:
            os.lseek(descriptor, (512 << 10) + 4096, os.SEEK_DATA)
        assert caught.value.errno == errno.ENXIO
        assert os.fstat(descriptor).st_blocks * 512 <= 64 << 10
        assert fallocate(descriptor, PUNCH_HOLE | KEEP_SIZE, 512 << 10, 4096) == 0
        assert os.pread(descriptor, 4, 512 << 10) == b"\0" * 4
        assert os.fstat(descriptor).st_blocks == 0


def test_allocation(folder: Path) -> None:
    with open(folder / "file", "w+b") as file:
        descriptor = file.fileno()
        os.posix_fallocate(descriptor, 0, 1 << 20)
        assert os.fstat(descriptor).st_size == 1 << 20 and os.fstat(descriptor).st_blocks >= 2048
        assert fallocate(descriptor, KEEP_SIZE, 1 << 20, 1 << 20) == 0
        assert os.fstat(descriptor).st_size == 1 << 20
        os.pwrite(descriptor, b"y" * 8192, 0)
        assert fallocate(descriptor, ZERO_RANGE, 0, 4096) == 0
        assert os.pread(descriptor, 8192, 0) == b"\0" * 4096 + b"y" * 4096


def test_copying_a_range(folder: Path) -> None:
    (folder / "from").write_bytes(b"0123456789" * 1000)
    source, target = os.open(folder / "from", os.O_RDONLY), os.open(folder / "to", os.O_RDWR | os.O_CREAT)
    assert os.copy_file_range(source, target, 5000, 10, 3) == 5000
    assert os.pread(target, 5003, 0) == b"\0\0\0" + b"0123456789" * 500
    os.close(source)
    os.close(target)


def test_shared_mappings(folder: Path) -> None:
    (folder / "file").write_bytes(bytes(3 * 4096))
    with open(folder / "file", "r+b") as file, mmap.mmap(file.fileno(), 0) as one, mmap.mmap(file.fileno(), 0) as two:
        one[5000:5005] = b"hello"
        assert two[5000:5005] == b"hello"
        one.flush()
        file.seek(5000)
        assert file.read(5) == b"hello"
        os.pwrite(file.fileno(), b"bye", 100)
        assert two[100:103] == b"bye"
    assert (folder / "file").read_bytes()[5000:5005] == b"hello"


def test_a_mapping_outlives_its_descriptor_and_name(folder: Path) -> None:
    (folder / "file").write_bytes(b"a" * 8192)
    with open(folder / "file", "r+b") as file:
        mapping = mmap.mmap(file.fileno(), 0)
    (folder / "file").unlink()
    mapping[4096:4100] = b"bbbb"
    assert mapping[4094:4102] == b"aabbbbaa"
    mapping.flush()
    mapping.close()


def test_executing(folder: Path) -> None:
    (folder / "script").write_text("#!/bin/sh\necho from the script\n")
    with pytest.raises(PermissionError):
        subprocess.run([folder / "script"], check=True)
    (folder / "script").chmod(0o755)
    assert subprocess.run([folder / "script"], capture_output=True, check=True).stdout == b"from the script\n"


@pytest.mark.parametrize("kind", ["flock", "posix"])
def test_locks_between_processes(folder: Path, kind: str) -> None:
    take = fcntl.flock if kind == "flock" else fcntl.lockf
    script = (
        f"import fcntl, sys\nfile = open({str(folder / 'lock')!r}, 'r+')\n"
        f"try:\n    fcntl.{'flock' if kind == 'flock' else 'lockf'}(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError:\n    sys.exit(7)\n"
    )
    with open(folder / "lock", "w") as file:
        take(file, fcntl.LOCK_EX)
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 7
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_syncing(folder: Path) -> None:
    with open(folder / "file", "wb") as file:
        file.write(b"data")
        file.flush()
        os.fsync(file.fileno())
        os.fdatasync(file.fileno())
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)
    os.close(os.open(folder / "file", os.O_WRONLY | os.O_SYNC))


def test_an_unlinked_file_lives_while_it_is_open(folder: Path) -> None:
    with open(folder / "file", "w+b") as file:
        file.write(b"content")
        file.flush()
        os.unlink(folder / "file")
        (folder / "file").write_text("another")
        found = os.fstat(file.fileno())
        assert (found.st_nlink, found.st_size) == (0, 7)
        os.fchmod(file.fileno(), 0o600)
        os.ftruncate(file.fileno(), 3)
        os.fsync(file.fileno())
        file.seek(0)
        assert file.read() == b"con" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
    assert (folder / "file").read_text() == "another"


def test_the_same_name_again_is_another_file(folder: Path) -> None:
    for number in range(30):
        (folder / "file").write_text(f"{number:04}")
        os.utime(folder / "file", ns=(0, 0))
        assert (folder / "file").read_text() == f"{number:04}"
        (folder / "file").unlink()


def test_extended_attributes(folder: Path) -> None:
    file = folder / "file"
    file.touch()
    os.setxattr(file, "user.colour", b"green")
    os.setxattr(file, "user.big", b"x" * 3000)
    assert os.getxattr(file, "user.colour") == b"green" and len(os.getxattr(file, "user.big")) == 3000
    assert sorted(os.listxattr(file)) == ["user.big", "user.colour"]
    with pytest.raises(FileExistsError):
        os.setxattr(file, "user.colour", b"x", os.XATTR_CREATE)
    with pytest.raises(OSError) as caught:
        os.setxattr(file, "user.none", b"x", os.XATTR_REPLACE)
    assert caught.value.errno == errno.ENODATA
    os.removexattr(file, "user.colour")
    with pytest.raises(OSError) as caught:
        os.getxattr(file, "user.colour")
    assert caught.value.errno == errno.ENODATA


def test_fifos_and_sockets(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    reader = os.open(folder / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(folder / "fifo", os.O_WRONLY)
    os.write(writer, b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    os.close(writer)
    os.chdir(folder)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
            listener.bind("socket")
            listener.listen()
            client.connect("socket")
            assert stat.S_ISSOCK((folder / "socket").stat().st_mode)
    finally:
        os.chdir("/")


def test_the_size_of_the_disk(folder: Path) -> None:
    found, host = os.statvfs(folder), os.statvfs("/tmp")
    assert (found.f_blocks, found.f_frsize, found.f_namemax) == (host.f_blocks, host.f_frsize, 255)
    assert found.f_bavail > 0


def test_where_one_stands_can_go(folder: Path) -> None:
    (folder / "d").mkdir()
    os.chdir(folder / "d")
    try:
        (folder / "d").rmdir()
        with pytest.raises(FileNotFoundError):
            Path("x").touch()
        with pytest.raises(FileNotFoundError):
            os.stat("x")
    finally:
        os.chdir("/")


def test_access_asks_the_mode(folder: Path) -> None:
    (folder / "file").touch(0o644)
    assert os.access(folder / "file", os.R_OK | os.W_OK) and not os.access(folder / "file", os.X_OK)
    assert not os.access(folder / "none", os.F_OK)


def test_git_works(folder: Path) -> None:
    """A program that uses most of it: temporary files, renames, links, read-only objects, locks, mmap."""
    script = """
git init -q . && git config user.email a@b && git config user.name n && git config core.fsync all
for i in 1 2 3 4 5 6 7 8; do echo $i > f$i; git add . && git commit -q -m $i; done
git gc -q && git status --porcelain && git log --oneline | wc -l && git fsck
"""
    done = subprocess.run(["sh", "-ec", script], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["8"]), done.stderr
