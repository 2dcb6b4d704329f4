"""Patterns of .dockerignore and of COPY --exclude: which paths they take out. Pure.

The rules are moby's patternmatcher: Go's filepath.Match, `**` for any number of folders, a later pattern beats an
earlier one, `!` brings back, and what is below a matching folder matches too. Paths are relative, with "/", cleaned.
It stands in `wire` because both sides need it: the client leaves files out, the engine knows what was meant.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from guest_agent.wire.globs import compile_glob


class IgnorePattern:
    """One line. `text` is cleaned, without the `!`. Raises ValueError for one that can't be understood."""

    __slots__ = ("_fits", "brings_back", "text")

    def __init__(self, line: str) -> None:
        self.brings_back = line.startswith("!")
        self.text = clean_pattern(line[1:] if self.brings_back else line)
        if self.brings_back and not line[1:].strip():
            raise ValueError('illegal exclusion pattern: "!"')
        try:
            self._fits = compile_glob(self.text)
        except re.error as error:
            raise ValueError(f"error parsing pattern '{self.text}': {error}") from error

    def matches(self, path: str) -> bool:
        """The path itself, or a folder that it is in."""
        if self._fits(path):
            return True
        end = path.find("/")
        while end > 0:
            if self._fits(path, 0, end):
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
