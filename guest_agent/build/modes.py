"""--chmod: octal digits, or chmod(1)'s clauses without a umask, as BuildKit takes both. Pure."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass

_OCTAL = re.compile(r"0*[0-7]{1,4}")
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
#: Whose bits are which: an action touches no others.
_BITS_OF = {
    "u": stat.S_ISUID | stat.S_IRWXU,
    "g": stat.S_ISGID | stat.S_IRWXG,
    "o": stat.S_ISVTX | stat.S_IRWXO,
    "a": 0o7777,
}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111, "s": stat.S_ISUID | stat.S_ISGID, "t": stat.S_ISVTX}
_PLACES = {"u": 6, "g": 3, "o": 0}


@dataclass(frozen=True, slots=True)
class _Action:
    """`what` has letters of permissions, or the one of whoever's permissions are taken over."""

    whose: int
    operator: str
    what: str

    def apply(self, mode: int, executable: bool) -> int:
        bits = self._bits(mode, executable) & self.whose
        if self.operator == "+":
            return mode | bits
        return mode & ~bits if self.operator == "-" else mode & ~self.whose | bits

    def _bits(self, mode: int, executable: bool) -> int:
        if self.what in _PLACES:
            return (mode >> _PLACES[self.what] & 0o7) * 0o111
        letters = self.what.replace("X", "x" if executable else "")
        return sum(_BITS[letter] for letter in set(letters))


@dataclass(frozen=True, slots=True)
class ModeChange:
    """`fixed` is the whole mode where digits were given."""

    text: str
    fixed: int | None = None
    actions: tuple[_Action, ...] = ()

    def apply(self, mode: int, is_folder: bool) -> int:
        """To a mode without its type."""
        if self.fixed is not None:
            return self.fixed
        executable = is_folder or bool(mode & 0o111)
        for action in self.actions:
            mode = action.apply(mode, executable)
        return mode


def parse_mode(text: str) -> ModeChange:
    """Raises ValueError in BuildKit's words."""
    if _OCTAL.fullmatch(text):
        fixed = int(text, 8)
        return ModeChange(f"{fixed:o}", fixed)
    clauses = [_CLAUSE.fullmatch(clause) for clause in text.split(",")]
    actions = [action for clause in clauses if clause for action in _actions(clause[1], clause[2])]
    if not all(clauses):
        raise ValueError(f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777")
    return ModeChange(text, actions=tuple(actions))


def _actions(who: str, text: str) -> list[_Action]:
    whose = 0
    for letter in who or "a":
        whose |= _BITS_OF[letter]
    return [_Action(whose, match[1], match[2]) for match in _ACTION.finditer(text)]
