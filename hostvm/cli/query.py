"""Paths of the API with their query strings. `urllib.parse` costs 8 ms to import; the rule is one line."""

from hostvm.cli.arguments import Arguments
from hostvm.client.jsontext import dumps

_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def escape(text: str) -> str:
    """Percent-encoding of everything but RFC 3986's unreserved characters."""
    data = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in data)


def with_query(path: str, /, **parameters: object) -> str:
    """`path?a=1&b=x`; what is None, False or "" is left out, True becomes 1."""
    pairs = [
        f"{name}={escape('1' if value is True else str(value))}"
        for name, value in parameters.items()
        if value is not None and value is not False and value != ""
    ]
    return f"{path}?{'&'.join(pairs)}" if pairs else path


def filter_pairs(arguments: Arguments) -> list[tuple[str, str]]:
    """The names and values of --filter."""
    return [pair for pair in arguments.many("filter") if isinstance(pair, tuple)]


def filters(arguments: Arguments) -> str:
    """--filter as the API wants it: {"status": ["exited"]}; "" for none."""
    collected: dict[str, list[object]] = {}
    for pair in filter_pairs(arguments):
        collected.setdefault(pair[0], []).append(pair[1])
    return dumps(collected) if collected else ""
