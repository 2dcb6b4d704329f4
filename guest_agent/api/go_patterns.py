"""Patterns in filters, as Go understands them: regular expressions (RE2) and globs (`path.Match`). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from guest_agent.api.go_expressions import Expression, ExpressionError
from guest_agent.wire.ignore_patterns import translate_glob

#: POSIX's classes, which Python's `re` doesn't know.
_CLASSES = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7F", "blank": r"\t ", "digit": "0-9", "lower": "a-z",
    "space": r"\t\n\v\f\r ", "upper": "A-Z", "word": r"\w", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
#: What `re` is as quick with as with any text: nothing that repeats, and no choice.
_PLAIN = re.compile(r"\^?[\w/.-]*\$?", re.ASCII)
_CLASS = re.compile(rf"\[:({'|'.join(_CLASSES)}):\]")


@lru_cache(16)
def find_expression(text: str) -> Callable[[str], object]:
    """Whether the expression is found somewhere in a text; what is none is found nowhere."""
    if _PLAIN.fullmatch(text):
        return re.compile(text.replace("$", r"\Z"), re.ASCII).search
    try:
        return Expression(_CLASS.sub(lambda found: _CLASSES[found[1]], text)).found_in
    except (ExpressionError, RecursionError):
        return lambda source: None


def match_glob(text: str) -> Callable[[str], object]:
    """Whether the glob is the whole of a text; `*` ends at `/`. Raises ValueError for one that is none."""
    single = re.sub(r"(\\.)|\*+", lambda found: found[1] or "*", text)
    try:
        return re.compile(translate_glob(single), re.DOTALL).fullmatch
    except re.error as error:
        raise ValueError(str(error)) from None
