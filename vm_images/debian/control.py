"""Deb822 text: paragraphs of fields, as in Release, *.sources and control files (deb822(5))."""

from __future__ import annotations

from collections.abc import Iterator


def parse_paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Each paragraph as {field in lower case: value}; continuation lines are joined with a line feed."""
    fields: dict[str, str] = {}
    last = ""
    for line in text.splitlines():
        if not line.strip():
            if fields:
                yield fields
            fields, last = {}, ""
        elif line.startswith("#"):
            continue
        elif line[0] in " \t":
            if last:
                fields[last] += "\n" + line.strip()
        else:
            last, _, value = line.partition(":")
            last = last.strip().lower()
            fields[last] = value.strip()
    if fields:
        yield fields
