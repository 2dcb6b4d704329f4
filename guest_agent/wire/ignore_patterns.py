"""Patterns of .dockerignore and of COPY --exclude: which paths they take out. Pure.

The rules are moby's patternmatcher: Go's filepath.Match, `**` for any number of folders, a later pattern beats an
earlier one, `!` brings back, and what is below a matching folder matches too. Paths are relative, with "/", cleaned.
It stands in `wire` because both sides need it: the client leaves files out, the engine knows what was meant.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable


class IgnorePattern:
    """One line. `text` is cleaned, without the `!`. Raises ValueError for one that can't be understood."""

    __slots__ = ("_expression", "brings_back", "text")

    def __init__(self, line: str) -> None:
        self.brings_back = line.startswith("!")
        self.text = clean_pattern(line[1:] if self.brings_back else line)
        if self.brings_back and not line[1:].strip():
            raise ValueError('illegal exclusion pattern: "!"')
        try:
            self._expression = re.compile(translate_glob(self.text), re.DOTALL)
        except re.error as error:
            raise ValueError(f"error parsing pattern '{self.text}': {error}") from error

    def matches(self, path: str) -> bool:
        """The path itself, or a folder that it is in."""
        if self._expression.fullmatch(path):
            return True
        end = path.find("/")
        while end > 0:
            if self._expression.fullmatch(path, 0, end):
                return True
            end = path.find("/", end + 1)
        return False

    def may_match_below(self, folder: str) -> bool:
        """Whether something inside of `folder` could match: wildcards are taken as a yes."""
        literal = re.split(r"[*?\[\\]", self.text, maxsplit=1)[0]
        return f"{self.text}/".startswith(f"{folder}/") or (
            literal != self.text and (f"{folder}/".startswith(literal) or literal.startswith(f"{folder}/"))
        )


class IgnorePatterns:
    """All lines of one file, in order."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._patterns = [IgnorePattern(line) for line in lines]

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def matches(self, path: str) -> bool:
        """Whether the path is taken out."""
        taken = False
        for pattern in self._patterns:
            if pattern.brings_back == taken and pattern.matches(path):
                taken = not pattern.brings_back
        return taken

    def needs_walk(self, folder: str) -> bool:
        """Whether a folder that is taken out may hold something that isn't."""
        return any(pattern.brings_back and pattern.may_match_below(folder) for pattern in self._patterns)


def parse_ignore_file(data: bytes) -> tuple[str, ...]:
    """The lines of a .dockerignore that mean something, cleaned."""
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    lines = (line.strip() for line in text.split("\n"))
    return tuple(_clean_line(line) for line in lines if line and not line.startswith("#"))


def clean_pattern(text: str) -> str:
    """Without what says nothing: outer space, `.`, `..` where it can be resolved, slashes at either end."""
    text = text.strip()
    cleaned = posixpath.normpath(text).lstrip("/") if text else ""
    return cleaned or ("." if text else "")


def _clean_line(line: str) -> str:
    return "!" + clean_pattern(line[1:]) if line.startswith("!") else clean_pattern(line)


def translate_glob(pattern: str) -> str:
    """The pattern as a regular expression, as moby's patternmatcher translates it."""
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        letter = pattern[position]
        position += 1
        if letter == "*" and pattern.startswith("*", position):
            position += 1
            if pattern.startswith("/", position):
                position += 1
                parts.append("(?:.*/)?")
            else:
                parts.append(".*")
        elif letter == "*":
            parts.append("[^/]*")
        elif letter == "?":
            parts.append("[^/]")
        elif letter == "[":
            words, position = _translate_class(pattern, position)
            parts.append(words)
        else:
            if letter == "\\":
                letter, position = pattern[position : position + 1], position + 1
                if not letter:
                    raise ValueError(f"error parsing pattern '{pattern}': syntax error in pattern")
            parts.append(re.escape(letter))
    return "".join(parts)


def _translate_class(pattern: str, position: int) -> tuple[str, int]:
    """`[a-z]`, `[^abc]`; `position` is behind the bracket. A class never matches a slash."""
    end = position + pattern.startswith("^", position)
    while end < len(pattern) and pattern[end] != "]":
        end += 2 if pattern[end] == "\\" else 1
    content = pattern[position:end]
    if end >= len(pattern) or not content.removeprefix("^"):
        raise ValueError(f"error parsing pattern '{pattern}': syntax error in pattern")
    negated = content.startswith("^")
    inner = re.sub(r"(?<!\\)(?:[\[&~|]|-(?=-))", lambda match: "\\" + match[0], content.removeprefix("^"))
    return f"(?!/)[{'^' if negated else ''}{inner}]", end + 1
