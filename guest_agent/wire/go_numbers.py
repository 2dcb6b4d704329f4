"""Numbers and truth values in texts, as Go's strconv reads and refuses them: dockerd hands its words on to users."""

import re

from guest_agent.wire.errors import InvalidArgument

_INTEGER = re.compile(r"[-+]?[0-9]+")
_MOST = 1 << 63

TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def parse_integer(text: str, function: str = "Atoi") -> int:
    """Raises InvalidArgument. Python's own `int` takes blanks, underscores and other scripts' digits as well."""
    if not _INTEGER.fullmatch(text):
        raise InvalidArgument(f'strconv.{function}: parsing "{text}": invalid syntax')
    if len(text) > 20 or not -_MOST <= int(text) < _MOST:
        raise InvalidArgument(f'strconv.{function}: parsing "{text}": value out of range')
    return int(text)


def parse_truth(text: str) -> bool:
    """Raises InvalidArgument."""
    if text not in TRUE | FALSE:
        raise InvalidArgument(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return text in TRUE
