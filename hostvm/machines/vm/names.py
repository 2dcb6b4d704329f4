"""Names of VM machines. On the way of a start: imports nothing heavy."""

from guest_agent.wire.errors import InvalidArgument

_LONGEST = 32
_RESERVED = ("native", "rootless")


def check_name(name: str) -> str:
    """The name itself. Raises InvalidArgument for what can't be a VM machine's: it is a folder's name, and a host's."""
    if not (0 < len(name) <= _LONGEST and name[0].isalnum() and all(is_allowed(letter) for letter in name)):
        raise InvalidArgument(
            f"invalid machine name {name!r}", "1 to 32 letters, digits, '_', '.' and '-', the first a letter or digit"
        )
    if name in _RESERVED:
        raise InvalidArgument(f"the machine name {name!r} is reserved")
    return name


def is_allowed(letter: str) -> bool:
    return letter.isascii() and (letter.isalnum() or letter in "_.-")
