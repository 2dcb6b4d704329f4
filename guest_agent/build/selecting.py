"""Which files a COPY or ADD takes, and what they are called where they go. Pure: trees answer, nothing is written.

Links on the way to a source are followed inside of the tree, as if its root were /; links inside of a copied folder
are copied as links. Patterns are Go's filepath.Match.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from guest_agent.build.trees import ContextTree, Entry, Tree
from guest_agent.wire.errors import InvalidArgument, NotFound
from guest_agent.wire.ignore_patterns import IgnorePatterns

#: The kernel's limit for links in one path.
_MOST_LINKS = 40
_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Item:
    """One file to make: `path` is where it is in the tree, `target` where it goes, relative to the destination."""

    path: str
    entry: Entry
    target: str
    #: The top folder of a source: its content is copied, and not its attributes.
    top: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """`into_folder`: the destination is a folder in any case (several sources, or one is a folder)."""

    items: tuple[Item, ...]
    into_folder: bool
    sources: int = 1  #: files and folders that the patterns have found


def select(
    tree: Tree,
    sources: Sequence[str],
    excludes: Sequence[str] = (),
    parents: bool = False,
    into_folder: bool = False,
    perhaps_none: bool = False,
) -> Selection:
    """All files of all sources. NotFound in docker's words for one that isn't there.

    `perhaps_none`: patterns that find nothing are no error, as with BuildKit.
    """
    found = [(pattern, *one) for pattern in sources for one in _find(tree, pattern)]
    if not found and not perhaps_none:
        raise NotFound("no source files were specified")
    into_folder = into_folder or len(found) > 1 or parents
    ignored = _patterns(excludes)
    items: list[Item] = []
    for pattern, name, path in found:
        entry = tree.find(path)
        assert entry is not None
        base = posixpath.basename(name)
        if parents:
            items += _with_parents(tree, pattern, name, path, ignored)
        elif entry.is_folder:
            items += _walk(tree, path, "", ignored)
        elif not ignored.matches(base):
            items.append(Item(path, entry, base))
    has_folder = any(item.top for item in items)
    return Selection(tuple(items), into_folder or has_folder, len(found))


def select_everything(tree: ContextTree) -> Selection:
    """An archive's whole content, for its folder."""
    return Selection(tuple(Item(path, entry, path) for path, entry in tree.paths()), into_folder=True)


def _patterns(excludes: Sequence[str]) -> IgnorePatterns:
    try:
        return IgnorePatterns(excludes)
    except ValueError as error:
        raise InvalidArgument(str(error)) from error


def leads_out(path: str) -> bool:
    """Is it above the folder that it starts in? `..data` isn't."""
    return posixpath.normpath(path).split("/")[0] == ".."


class SourceMissing(NotFound):
    """A file that COPY or ADD names isn't there; in the classic builder's words."""

    def __init__(self, path: str, hint: str, in_context: bool = True) -> None:
        where = "file not found in build context or excluded by .dockerignore: " if in_context else ""
        super().__init__(f"{where}stat {path}: file does not exist", hint)
        self.path = path


def _find(tree: Tree, pattern: str) -> Iterator[tuple[str, str]]:
    """What a source means: each path as it is called, and with links resolved.

    A link has its own name where it goes, although its target is taken.
    """
    relative = posixpath.normpath("/" + pattern.lstrip("/")).lstrip("/")
    if pattern.startswith("..") and leads_out(pattern):
        raise InvalidArgument(f"forbidden path outside the build context: {pattern} ()")
    if _WILDCARD.search(relative):
        yield from _match(tree, "", "", relative.split("/"))
        return
    path = resolve(tree, relative)
    if path is None:
        raise SourceMissing(relative or pattern, _closest(tree, relative), in_context=not tree.owned)
    yield relative, path


def _closest(tree: Tree, path: str) -> str:
    from difflib import get_close_matches

    folder, _, base = path.rpartition("/")
    place = resolve(tree, folder)
    entry = None if place is None else tree.find(place)
    names = tree.names(place or "") if entry is not None and entry.is_folder else ()
    close = get_close_matches(base, [name for name in names if name != base], 1)
    return f"did you mean {posixpath.join(folder, close[0])}?" if close else ""


def _match(tree: Tree, called: str, folder: str, parts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Below `folder`, which the pattern has come to by the name `called`."""
    first, *rest = parts
    expression = _translate(first)
    for name in tree.names(folder):
        if not expression.fullmatch(name):
            continue
        path, literal = resolve(tree, posixpath.join(folder, name)), posixpath.join(called, name)
        if path is None:
            continue
        if not rest:
            yield literal, path
        elif (entry := tree.find(path)) is not None and entry.is_folder:
            yield from _match(tree, literal, path, rest)


def _translate(pattern: str) -> re.Pattern[str]:
    """filepath.Match of one component. Raises InvalidArgument."""
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        letter = pattern[position]
        position += 1
        if letter == "*":
            parts.append(".*")
        elif letter == "?":
            parts.append(".")
        elif letter == "[":
            end = pattern.find("]", position + 1)
            if end < 0:
                raise InvalidArgument(f"syntax error in pattern: {pattern}")
            inner = re.sub(r"([\[&~|]|-(?=-))", r"\\\1", pattern[position:end])
            parts.append(f"[{inner}]")
            position = end + 1
        else:
            if letter == "\\":
                letter, position = pattern[position : position + 1] or "\\", position + 1
            parts.append(re.escape(letter))
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error:
        raise InvalidArgument(f"syntax error in pattern: {pattern}") from None


def resolve(tree: Tree, path: str) -> str | None:
    """The path with every link followed, inside of the tree; None where it leads to nothing."""
    pending = [part for part in path.split("/") if part]
    done: list[str] = []
    links = 0
    while pending:
        part = pending.pop(0)
        if part in (".", ".."):
            done = done[:-1] if part == ".." else done
            continue
        entry = tree.find("/".join((*done, part)))
        if entry is None:
            return None
        if not entry.is_link:
            done.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            return None
        if entry.link.startswith("/"):
            done = []
        pending = [one for one in entry.link.split("/") if one] + pending
    return "/".join(done)


def _walk(tree: Tree, folder: str, target: str, ignored: IgnorePatterns) -> Iterator[Item]:
    """A folder and what is in it, each folder before its content."""
    entry = tree.find(folder)
    assert entry is not None
    yield Item(folder, entry, target, top=True)
    pending = [(folder, target, "")]
    while pending:
        place, below, inner = pending.pop()
        for name in tree.names(place):
            path, relative = posixpath.join(place, name), posixpath.join(inner, name)
            goes_to = path if below == place else posixpath.join(below, name)  # the same text is kept once
            found = tree.find(path)
            if found is None:
                continue
            taken = not ignored.matches(relative)
            if taken:
                yield Item(path, found, goes_to)
            if found.is_folder and (taken or ignored.needs_walk(relative)):
                pending.append((path, goes_to, relative))


def _with_parents(tree: Tree, pattern: str, name: str, path: str, ignored: IgnorePatterns) -> Iterator[Item]:
    """--parents: the folders on the way are made, too; those in front of `/./` aren't."""
    before, pivot, _after = pattern.partition("/./")
    skipped = len([part for part in before.split("/") if part not in ("", ".")]) if pivot else 0
    parts = name.split("/")
    for depth in range(skipped + 1, len(parts)):
        folder = resolve(tree, "/".join(parts[:depth]))
        entry = None if folder is None else tree.find(folder)
        if folder is not None and entry is not None:
            yield Item(folder, entry, "/".join(parts[skipped:depth]))
    target = "/".join(parts[skipped:])
    entry = tree.find(path)
    assert entry is not None
    if not entry.is_folder:
        yield Item(path, entry, target)
        return
    for item in _walk(tree, path, target, ignored):
        yield replace(item, top=False)


def digest_selection(tree: Tree, selection: Selection) -> str:
    """What a COPY is known by: names, kinds, modes, contents, and owners where they mean something; no times."""
    total = hashlib.sha256()
    for item in sorted(selection.items, key=lambda one: one.target):
        entry = item.entry
        owner = (entry.uid, entry.gid) if tree.owned else ()
        mode = 0 if stat.S_ISLNK(entry.mode) else stat.S_IMODE(entry.mode)
        xattrs = sorted((entry.xattrs or {}).items())
        content = tree.digest(item.path, entry) if entry.is_file else b""
        described = (item.target, stat.S_IFMT(entry.mode), mode, owner, entry.link, entry.device, xattrs, content)
        total.update(repr(described).encode("utf-8", "surrogateescape"))
    return total.hexdigest()
