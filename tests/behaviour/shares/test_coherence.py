"""What the host changes, the guest sees at its next open, read, stat or listing; and the other way round."""

from __future__ import annotations

import os
import random
from pathlib import Path

Sides = tuple[Path, Path]


def test_an_edit_in_place(sides: Sides) -> None:
    host, guest = sides
    for number in range(200):
        text = f"edit {number:06}"
        (host / "file").write_text(text)
        assert (guest / "file").read_text() == text


def test_an_edit_that_keeps_size_and_mtime(sides: Sides) -> None:
    """As a copy with its times kept does, or a build that sets every mtime to the same."""
    host, guest = sides
    for number in range(50):
        text = f"edit {number:06}"
        (host / "file").write_text(text)
        os.utime(host / "file", ns=(0, 0))
        assert (guest / "file").read_text() == text


def test_an_editor_that_renames_over(sides: Sides) -> None:
    host, guest = sides
    (host / "file").write_text("old")
    with open(guest / "file") as opened:
        for number in range(100):
            (host / "file.new").write_text(f"new {number}")
            os.rename(host / "file.new", host / "file")
            assert (guest / "file").read_text() == f"new {number}"
        assert opened.read() == "old", "an open file is the file that was opened"


def test_reading_on_in_an_open_file(sides: Sides) -> None:
    """tail -f, and reads of what the page cache already has."""
    host, guest = sides
    (host / "log").write_text("one\n")
    with open(guest / "log", "rb", buffering=0) as opened:
        assert opened.read() == b"one\n"
        for number in range(50):
            with open(host / "log", "a") as file:
                file.write(f"line {number}\n")
            assert opened.read() == f"line {number}\n".encode()
            assert os.fstat(opened.fileno()).st_size == (host / "log").stat().st_size
        (host / "log").write_text("X" * 600)
        assert os.pread(opened.fileno(), 600, 0) == b"X" * 600


def test_names_come_and_go(sides: Sides) -> None:
    host, guest = sides
    for _ in range(50):
        assert not (guest / "file").exists()
        assert os.listdir(guest) == []
        (host / "file").touch()
        assert (guest / "file").exists()
        assert os.listdir(guest) == ["file"]
        (host / "file").unlink()


def test_modes_and_sizes(sides: Sides) -> None:
    host, guest = sides
    (host / "file").touch()
    for number in range(100):
        os.truncate(host / "file", number)
        (host / "file").chmod(0o600 + number % 8)
        found = (guest / "file").stat()
        assert (found.st_size, found.st_mode & 0o7777) == (number, 0o600 + number % 8)


def test_a_line_that_the_host_appended_survives_the_guests(sides: Sides) -> None:
    host, guest = sides
    with open(guest / "log", "a") as inside, open(host / "log", "a") as outside:
        for number in range(100):
            outside.write(f"outside {number}\n")
            outside.flush()
            inside.write(f"inside {number}\n")
            inside.flush()
    expected = [f"{side} {number}" for number in range(100) for side in ("outside", "inside")]
    assert (host / "log").read_text().splitlines() == expected
    assert (guest / "log").read_text().splitlines() == expected


def test_what_the_guest_writes_is_there(sides: Sides) -> None:
    host, guest = sides
    with open(guest / "file", "w") as file:
        for number in range(100):
            file.write(f"{number}\n")
            file.flush()
            assert (host / "file").read_text().endswith(f"{number}\n")


def test_a_file_that_became_a_folder_and_a_link(sides: Sides) -> None:
    host, guest = sides
    (host / "other").write_text("other")
    for _ in range(20):
        (host / "name").write_text("file")
        assert (guest / "name").read_text() == "file"
        (host / "name").unlink()
        (host / "name").mkdir()
        assert os.listdir(guest / "name") == []
        (host / "name").rmdir()
        (host / "name").symlink_to("other")
        assert (guest / "name").read_text() == "other"
        (host / "name").unlink()


def test_a_folder_that_the_host_moved(sides: Sides) -> None:
    host, guest = sides
    (host / "a/b").mkdir(parents=True)
    (host / "a/b/file").write_text("moved")
    assert (guest / "a/b/file").read_text() == "moved"
    (host / "a").rename(host / "c")
    assert not (guest / "a").exists()
    assert (guest / "c/b/file").read_text() == "moved"
    (guest / "c/b/file").write_text("by the guest")
    assert (host / "c/b/file").read_text() == "by the guest"


def test_random_edits(sides: Sides) -> None:
    """After each, both sides tell the same story."""
    host, guest = sides
    chance = random.Random(5)
    for _ in range(300):
        edit(chance, chance.choice(sides), str(chance.randrange(5)), str(chance.randrange(5)))
        assert story(guest) == story(host)


def edit(chance: random.Random, side: Path, name: str, other: str) -> None:
    kind = chance.choice(["write", "write", "append", "rename", "link", "remove", "truncate"])
    try:
        if kind == "write":
            (side / name).write_text(chance.choice("abcdef") * chance.choice([4, 4, 4, 5000]))
        elif kind == "append":
            with open(side / name, "a") as file:
                file.write(chance.choice("abcdef"))
        elif kind == "rename":
            (side / name).rename(side / other)
        elif kind == "link":
            os.link(side / name, side / other)
        elif kind == "remove":
            (side / name).unlink()
        else:
            os.truncate(side / name, chance.choice([0, 4, 10000]))
    except OSError:
        return


def story(side: Path) -> dict[str, tuple[str, int]]:
    return {name: ((side / name).read_text(), (side / name).stat().st_nlink) for name in sorted(os.listdir(side))}
