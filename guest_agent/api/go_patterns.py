"""Patterns in filters, as Go understands them: regular expressions (RE2) and globs (`path.Match`). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from guest_agent.wire.globs import compile_glob

#: POSIX's classes, which Python's `re` doesn't know.
_CLASSES = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7F", "blank": r"\t ", "digit": "0-9", "lower": "a-z",
    "space": r"\t\n\v\f\r ", "upper": "A-Z", "word": r"\w", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_CLASS = re.compile(rf"\[:({'|'.join(_CLASSES)}):\]")


def find_expression(text: str) -> Callable[[str], object]:
    """Whether the expression is found somewhere in a text; what is none is found nowhere."""
    translated = _CLASS.sub(lambda found: _CLASSES[found[1]], text).replace(r"\z", r"\Z")
    try:
        return re.compile(translated, re.ASCII).search
    except (re.error, OverflowError, RecursionError):
        return lambda source: None


def match_glob(text: str) -> Callable[[str], object]:
    """Whether the glob is the whole of a text; `*` ends at `/`. Raises ValueError for one that is none."""
    single = re.sub(r"(\\.)|\*+", lambda found: found[1] or "*", text)
    try:
        return compile_glob(single)
    except re.error as error:
        raise ValueError(str(error)) from None
