"""Variables and quotes in a Dockerfile's words, by the rules of moby's builder (dockerfile/shell/lex.go). Pure.

`$name`, `${name}`, and with a word that is expanded itself: `:-` `-` `:+` `+` `:?` `?`, `#` `##` `%` `%%` for patterns,
`/a/b` and `//a/b` for replacements. Single quotes keep all, double quotes keep spaces, the escape character
(a backslash, or what the `escape` directive says) keeps the next character.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Lookup = Callable[[str], str | None]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPECIAL = "@*#?-$!0123456789"
_SPACES = " \t\n\r"


class ExpansionError(ValueError):
    """A word that can't be understood; the message is one line."""


def expand_word(text: str, lookup: Lookup, escape: str = "\\", quotes: bool = True) -> str:
    """Variables replaced and quotes removed; spaces don't split. Raises ExpansionError.

    Without `quotes` they are letters like any other: a heredoc's text.
    """
    return "".join(_Lexer(text, lookup, escape, quotes).run())


def expand_words(text: str, lookup: Lookup, escape: str = "\\") -> tuple[str, ...]:
    """The same, split at spaces outside of quotes, those of a variable's value included."""
    return tuple(_Lexer(text, lookup, escape).words())


class _Lexer:
    def __init__(self, text: str, lookup: Lookup, escape: str, quotes: bool = True) -> None:
        self._text = text
        self._lookup = lookup
        self._escape = escape
        self._quotes = quotes
        self._next = 0

    def run(self, stop: str = "") -> list[str]:
        """Pieces up to the character `stop`, which is consumed, or to the end."""
        return [piece for piece, _quoted in self._pieces(stop)]

    def words(self) -> list[str]:
        words: list[str] = []
        current: str | None = None
        for piece, quoted in self._pieces(""):
            if quoted:
                current = (current or "") + piece
                continue
            for part in re.split(f"([{_SPACES}]+)", piece):
                if part.strip(_SPACES):
                    current = (current or "") + part
                elif part and current is not None:
                    words.append(current)
                    current = None
        return words if current is None else [*words, current]

    def _pieces(self, stop: str) -> list[tuple[str, bool]]:
        pieces: list[tuple[str, bool]] = []
        while self._next < len(self._text):
            letter = self._text[self._next]
            if stop and letter == stop:
                self._next += 1
                return pieces
            pieces.append(self._piece(letter))
        if stop:
            raise ExpansionError("unexpected end of statement while looking for matching }")
        return pieces

    def _piece(self, letter: str) -> tuple[str, bool]:
        self._next += 1
        if letter == "'" and self._quotes:
            return self._single_quoted(), True
        if letter == '"' and self._quotes:
            return self._double_quoted(), True
        if letter == "$":
            return self._variable(), False
        if letter == self._escape:
            kept = self._text[self._next : self._next + 1]
            self._next += 1
            return kept, True
        return letter, False

    def _single_quoted(self) -> str:
        end = self._text.find("'", self._next)
        if end < 0:
            raise ExpansionError("unexpected end of statement while looking for matching single-quote")
        kept = self._text[self._next : end]
        self._next = end + 1
        return kept

    def _double_quoted(self) -> str:
        parts: list[str] = []
        while self._next < len(self._text):
            letter = self._text[self._next]
            self._next += 1
            if letter == '"':
                return "".join(parts)
            if letter == "$":
                parts.append(self._variable())
            elif letter == self._escape and self._text[self._next : self._next + 1] in ('"', "$", self._escape):
                parts.append(self._text[self._next])
                self._next += 1
            else:
                parts.append(letter)
        raise ExpansionError("unexpected end of statement while looking for matching double-quote")

    def _variable(self) -> str:
        """Behind the `$`. A dollar that begins no name stands for itself."""
        if self._text[self._next : self._next + 1] == "{":
            self._next += 1
            return self._braced()
        match = _NAME.match(self._text, self._next)
        if match is not None:
            self._next = match.end()
            return self._lookup(match[0]) or ""
        letter = self._text[self._next : self._next + 1]
        if letter and letter in _SPECIAL:
            self._next += 1
            return self._lookup(letter) or ""
        return "$"

    def _braced(self) -> str:
        match = _NAME.match(self._text, self._next)
        if match is not None:
            self._next = match.end()
            name = match[0]
        else:
            name = self._text[self._next : self._next + 1]
            if not name or name not in _SPECIAL:
                raise ExpansionError("bad substitution")
            self._next += 1
        operator = self._text[self._next : self._next + 1]
        self._next += 1
        if operator == "}":
            return self._lookup(name) or ""
        if not operator:
            raise ExpansionError("syntax error: missing '}'")
        return self._modified(name, operator)

    def _modified(self, name: str, operator: str) -> str:
        value = self._lookup(name)
        if operator in "#%":
            doubled = self._text[self._next : self._next + 1] == operator
            self._next += doubled
            pattern = "".join(self.run("}"))
            return _trim(value or "", pattern, front=operator == "#", greedy=doubled)
        if operator == "/":
            return self._replaced(value or "")
        if operator == ":":
            operator, value = self._text[self._next : self._next + 1], value or None
            self._next += 1
        word = "".join(self.run("}"))
        if operator == "-":
            return word if value is None else value
        if operator == "+":
            return "" if value is None else word
        if operator == "?":
            if value is None:
                raise ExpansionError(f"{name}: {word or 'not allowed to be unset'}")
            return value
        raise ExpansionError(f"unsupported modifier ({operator}) in substitution")

    def _replaced(self, value: str) -> str:
        everywhere = self._text[self._next : self._next + 1] == "/"
        self._next += everywhere
        pattern = "".join(self.run("/"))
        replacement = "".join(self.run("}"))
        return re.sub(_translate(pattern), lambda _match: replacement, value, count=0 if everywhere else 1)


def _trim(value: str, pattern: str, front: bool, greedy: bool) -> str:
    """`${value#pattern}` and its kin: the shortest or longest match at the front or the end goes."""
    expression = re.compile(_translate(pattern), re.DOTALL)
    lengths = range(len(value), -1, -1) if greedy else range(len(value) + 1)
    for length in lengths:
        part = value[:length] if front else value[len(value) - length :]
        if expression.fullmatch(part):
            return value[length:] if front else value[: len(value) - length]
    return value


def _translate(pattern: str) -> str:
    """A shell pattern with `*`, `?` and backslashes as a regular expression."""
    parts = []
    letters = iter(pattern)
    for letter in letters:
        if letter == "*":
            parts.append(".*")
        elif letter == "?":
            parts.append(".")
        else:
            parts.append(re.escape(next(letters, "\\") if letter == "\\" else letter))
    return "".join(parts)
