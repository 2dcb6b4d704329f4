"""From a tar to files in a root: trees, selection, copying. No link and no name leads out of either."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.build.copying import Attributes, check_folders, copy_selection
from guest_agent.build.modes import parse_mode
from guest_agent.build.selecting import digest_selection, select
from guest_agent.build.trees import ContextTree, FolderTree, TreeReader
from guest_agent.wire.errors import InvalidArgument, NotFound

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="owners are given away by root only")
Members = dict[str, bytes | str | None]


def tar(members: Members, mtime: int = 0, mode: int = 0o644) -> bytes:
    """Name -> content; a str is a link's target, None a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.mtime, member.mode = mtime, mode if isinstance(content, bytes) else 0o755
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            elif content is None:
                member.type = tarfile.DIRTYPE
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def read(data: bytes, folder: Path, size: int = 1 << 16) -> ContextTree:
    reader = TreeReader(str(folder))
    try:
        for place in range(0, len(data), size):
            reader.feed(data[place : place + size])
        return reader.finish()
    finally:
        reader.close()


PROJECT: Members = {
    "a.txt": b"A",
    "b.txt": b"B",
    "src/main.py": b"main",
    "src/deep/x.md": b"x",
    "link": "src",
    "out": "../../etc/passwd",
    "loop": "loop",
}


#: A library with its links, one of them in a folder that a link leads to.
LIBRARY: Members = {
    "libx.so": "libx.so.1",
    "libx.so.1": b"x",
    "lib": "real",
    "real/liby.so": "../libx.so.1",
    "..d": b"d",
}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[ContextTree]:
    tree = read(tar(PROJECT), tmp_path)
    yield tree
    tree.close()


def targets(tree: ContextTree, *sources: str, **options: object) -> list[str]:
    excludes = options.get("excludes", ())
    assert isinstance(excludes, tuple)
    return [item.target for item in select(tree, sources, excludes, bool(options.get("parents"))).items]


def test_what_nobody_waits_for_any_more_ends_in_the_middle(project: ContextTree, tmp_path: Path) -> None:
    answers = iter((False, True))
    copy_selection(project, select(project, ["."]), str(tmp_path), "/", Attributes((0, 0)), lambda: next(answers))
    assert not os.path.exists(tmp_path / "a.txt") and next(answers, None) is None


def test_sources(project: ContextTree) -> None:
    assert targets(project, "a.txt") == ["a.txt"]
    assert targets(project, "/a.txt", "./b.txt") == ["a.txt", "b.txt"]
    assert targets(project, "src") == ["", "deep", "main.py", "deep/x.md"]
    assert targets(project, "link/main.py") == ["main.py"]
    assert targets(project, "*.txt") == ["a.txt", "b.txt"]
    assert targets(project, "src/*/?.md") == ["x.md"]
    assert targets(project, "src", excludes=("**/*.md",)) == ["", "deep", "main.py"]
    assert targets(project, "src/deep/x.md", parents=True) == ["src", "src/deep", "src/deep/x.md"]
    assert targets(project, "src/./deep/x.md", parents=True) == ["deep", "deep/x.md"]


@pytest.mark.parametrize("source", ["none", "out", "loop", "src/none*", "a.txt/x"])
def test_sources_that_arent_there(project: ContextTree, source: str) -> None:
    with pytest.raises(NotFound):
        select(project, [source])


def test_patterns_that_find_nothing(project: ContextTree) -> None:
    with pytest.raises(NotFound, match="no source files were specified"):
        select(project, ["none*"])
    assert select(project, ["none*"], perhaps_none=True).items == ()


def test_a_source_outside_of_the_context(project: ContextTree) -> None:
    with pytest.raises(InvalidArgument, match="forbidden path outside the build context"):
        select(project, ["../x"])


def test_a_link_keeps_its_name(tmp_path: Path) -> None:
    tree = read(tar(LIBRARY), tmp_path)
    assert targets(tree, "*.so") == ["libx.so"]
    assert targets(tree, "libx.so*") == ["libx.so", "libx.so.1"]
    assert targets(tree, "li[b]/*.so") == ["liby.so"]
    assert targets(tree, "*b/*.so", parents=True) == ["lib", "lib/liby.so"]
    assert targets(tree, "lib/liby.so", parents=True) == ["lib", "lib/liby.so"]
    assert targets(tree, "..d") == ["..d"]
    taken = select(tree, ["*.so"]).items[0]
    assert taken.path == "libx.so.1" and taken.entry.is_file
    tree.close()


def test_a_near_miss_is_named(project: ContextTree) -> None:
    with pytest.raises(NotFound) as caught:
        select(project, ["src/man.py"])
    assert caught.value.hint == "did you mean src/main.py?"


def test_the_digest_knows_content_mode_and_names_and_no_times(tmp_path: Path) -> None:
    def digest(**options: int) -> str:
        tree = read(tar(PROJECT, **options), tmp_path)
        try:
            return digest_selection(tree, select(tree, ["."]))
        finally:
            tree.close()

    assert digest() == digest(mtime=12345)
    assert digest() != digest(mode=0o600)


@ROOT_ONLY
def test_copies(project: ContextTree, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (root / "app").symlink_to("/real")
    (root / "outside").symlink_to("../../../../etc")
    copy_selection(project, select(project, ["src"]), str(root), "/app", Attributes((7, 8)))
    copy_selection(project, select(project, ["a.txt"]), str(root), "/new/deep/name", Attributes(mode=parse_mode("600")))
    assert (root / "real/deep/x.md").read_bytes() == b"x"
    assert os.stat(root / "real/main.py").st_uid == 7
    assert stat.S_IMODE(os.stat(root / "new/deep/name").st_mode) == 0o600
    copy_selection(project, select(project, ["a.txt"]), str(root), "/outside/", Attributes())
    assert (root / "etc/a.txt").read_bytes() == b"A", "a link that climbs ends at the root"


@ROOT_ONLY
def test_of_a_folder_its_content_is_copied(tmp_path: Path) -> None:
    """Neither of docker's builders gives a folder that COPY makes the owner and mode of its source."""
    (tmp_path / "from/inner").mkdir(parents=True)
    for name, mode in (("from", 0o1777), ("from/inner", 0o700)):
        os.chmod(tmp_path / name, mode)
        os.chown(tmp_path / name, 3, 4)
    tree = FolderTree(str(tmp_path))
    copy_selection(tree, select(tree, ["from"]), str(tmp_path), "/to", Attributes())
    seen = {name: os.stat(tmp_path / name) for name in ("to", "to/inner")}
    assert [(stat.S_IMODE(one.st_mode), one.st_uid) for one in seen.values()] == [(0o755, 0), (0o700, 3)]


@ROOT_ONLY
def test_an_archive_has_its_own_owners(project: ContextTree, tmp_path: Path) -> None:
    """--chown is for the folders on the way to what ADD takes apart, as with BuildKit."""
    attributes = Attributes((7, 8), parse_mode("600"), of_archive=True)
    copy_selection(project, select(project, ["src"]), str(tmp_path), "/on/way", attributes)
    names = ("on", "on/way", "on/way/main.py")
    assert [os.stat(tmp_path / name).st_uid for name in names] == [7, 7, 0]
    assert stat.S_IMODE(os.stat(tmp_path / "on/way/main.py").st_mode) == 0o644


@ROOT_ONLY
def test_a_linked_copy_follows_no_link(project: ContextTree, tmp_path: Path) -> None:
    """It is a layer that knows nothing of those below: its way has folders only (Dockerfile reference, --link)."""
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (root / "real/kept").touch()
    for name in ("app", "file", "deep"):
        (root / name).symlink_to("/real")
    copy_selection(project, select(project, ["src"]), str(root), "/app/in", Attributes(linked=True))
    copy_selection(project, select(project, ["a.txt"]), str(root), "/file", Attributes(linked=True))
    copy_selection(project, select(project, ["src"]), str(root), "/", Attributes(linked=True))
    assert os.listdir(root / "real") == ["kept"]
    assert (root / "app/in/deep/x.md").read_bytes() == (root / "deep/x.md").read_bytes() == b"x"
    assert (root / "file").read_bytes() == b"A" and not (root / "file").is_symlink()


@ROOT_ONLY
def test_a_file_doesnt_replace_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "there").mkdir(parents=True)
    tree = read(tar({"folder/there": b"x"}), tmp_path)
    with pytest.raises(InvalidArgument, match="cannot copy to directory: /there"):
        copy_selection(tree, select(tree, ["folder"]), str(root), "/", Attributes())
    tree.close()


@ROOT_ONLY
def test_volumes_are_in_the_place_of_folders(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("/file")
    check_folders(str(tmp_path), ("/folder", "/missing/too", "/file/below", "folder"))
    for path in ("/file", "/link", "file"):
        with pytest.raises(InvalidArgument, match=f"^cannot mount volume over existing file, file exists {path}$"):
            check_folders(str(tmp_path), ("/folder", path))


def test_a_folder_is_a_tree_as_well(project: ContextTree, tmp_path: Path) -> None:
    root, again = tmp_path / "root", tmp_path / "again"
    for folder in (root, again):
        folder.mkdir()
    copy_selection(project, select(project, ["."]), str(root), "/", Attributes())
    tree = FolderTree(str(root))
    selection = select(tree, ["/"])
    copy_selection(tree, selection, str(again), "/", Attributes())
    assert digest_selection(tree, selection) == digest_selection(
        FolderTree(str(again)), select(FolderTree(str(again)), ["/"])
    )


@pytest.mark.parametrize("name", ["../x", "a/../../x"])
def test_nothing_is_above_the_root(name: str, tmp_path: Path) -> None:
    tree = read(tar({name: b"1"}), tmp_path)
    assert [path for path, _entry in tree.paths()] == ["x"]
    tree.close()


def test_a_file_may_replace_a_folder(tmp_path: Path) -> None:
    tree = read(tar({"a/b": b"1", "a": b"2"}), tmp_path)
    assert tree.find("a/b") is None and tree.read("a", 10) == b"2"
    tree.close()


PATHS = st.lists(st.sampled_from(["a", "b", "..", ".", "é", "*"]), min_size=1, max_size=4).map("/".join)
LINKS = st.dictionaries(PATHS, st.one_of(st.binary(max_size=5), PATHS.map(lambda path: "/" + path)), max_size=8)


@given(LINKS, PATHS, st.integers(1, 700))
def test_any_tar_and_any_source_end_in_files_of_the_tree(members: Members, source: str, size: int) -> None:
    """Whatever names and links a tar has, a source selects entries of this tree, or there is one clear error."""
    folder = Path("/tmp")
    try:
        tree = read(tar(members), folder, size)
    except InvalidArgument:
        return
    try:
        for item in select(tree, [source]).items:
            assert tree.find(item.path) == item.entry
            assert not item.target.startswith(("/", "../"))
    except (InvalidArgument, NotFound):
        pass
    finally:
        tree.close()
