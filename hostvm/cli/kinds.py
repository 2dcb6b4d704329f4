"""The kinds of values that flags have: text -> value, in the words of Go's parsers where they refuse.

The plain kinds are here; those that only `run` and `create` need are in `request/kinds.py`, imported when one is met.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


def parse_bool(text: str) -> bool:
    """Go's strconv.ParseBool."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def parse_int(text: str) -> int:
    """Go's strconv.ParseInt with 64 bits; underscores and spaces, which Python takes, are refused."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    value = int(text)
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def parse_uint16(text: str) -> int:
    """Go's strconv.ParseUint with 16 bits."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if int(text) > 0xFFFF:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)


def parse_filter(text: str) -> tuple[str, str] | None:
    """`name=value` of --filter; an empty one is none, as in docker."""
    if not text:
        return None
    name, found, value = text.partition("=")
    if not found:
        raise ValueError("bad format of filter (expected name=value)")
    return name.strip().lower(), value.strip()


#: kind -> converter. A converter raises ValueError with the reason.
PLAIN: "dict[str, Callable[[str], object]]" = {
    "bool": parse_bool,
    "string": str,
    "int": parse_int,
    "uint16": parse_uint16,
    "filter": parse_filter,
}


_OF_DEVICES = frozenset(("rate", "operations", "weight", "device-rule", "gpus"))


def converter(kind: str) -> "Callable[[str], object]":
    """The converter of a kind."""
    if kind in PLAIN:
        return PLAIN[kind]
    if kind in _OF_DEVICES:
        from hostvm.cli.request.devices import KINDS
    else:
        from hostvm.cli.request.kinds import KINDS
    return KINDS[kind]
