"""JSON by the C half of the standard library's `json`.

`import json` pulls in `re`, 5 ms that `ps` doesn't have. `_json` holds the scanner and the encoder that `json` itself
uses; this module gives them the settings that `json.loads` and `json.dumps` have.
"""

from _json import encode_basestring_ascii, make_encoder, make_scanner

_WHITESPACE = " \t\n\r"


class _Context:
    """What `_json.make_scanner` asks its `JSONDecoder` for."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int

    @staticmethod
    def parse_constant(name: str) -> object:
        raise ValueError(f"{name} is not JSON")


_scan = make_scanner(_Context())  # type: ignore[arg-type]


def loads(text: str | bytes) -> object:
    """The value of a whole JSON text. Raises ValueError."""
    if isinstance(text, bytes):
        text = text.decode()
    text = text.strip(_WHITESPACE)
    try:
        value, end = _scan(text, 0)
    except StopIteration as stop:
        raise ValueError(f"no JSON value at character {stop.value}") from None
    except SystemError:
        raise _explain(text) from None
    if end != len(text):
        raise ValueError(f"characters after the JSON value, at {end}")
    return value


def _explain(text: str) -> ValueError:
    """The scanner's error: without `json` it has no class to raise it by (CPython's _json.c, raise_errmsg)."""
    import json

    try:
        json.loads(text)
    except ValueError as error:
        return error
    return ValueError("malformed JSON")


def loads_object(text: str | bytes) -> dict[str, object]:
    """The same for a text that must be an object."""
    value = loads(text)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} is not JSON")


_encode = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, False)
_encode_sorted = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", True, False, False)


def dumps(value: object, sort_keys: bool = False) -> str:
    """The shortest JSON text of a value; ASCII only."""
    return "".join((_encode_sorted if sort_keys else _encode)(value, 0))


def quote(text: str) -> str:
    """A string as JSON, with what isn't ASCII left as it is, as Go does."""
    from _json import encode_basestring

    return encode_basestring(text)


def compact(value: object) -> str:
    """Like `dumps`, in the form Go gives: what isn't ASCII stays, maps keep their order."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{quote(str(key))}:{compact(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(compact, value)) + "]"
    return dumps(value)


def pretty(value: object, indent: str = "    ", margin: str = "") -> str:
    """Go's `json.MarshalIndent` with the given indent."""
    inner = margin + indent
    if isinstance(value, dict) and value:
        lines = [f"{inner}{quote(str(key))}: {pretty(item, indent, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{margin}}}"
    if isinstance(value, list) and value:
        lines = [inner + pretty(item, indent, inner) for item in value]
        return "[\n" + ",\n".join(lines) + f"\n{margin}]"
    return compact(value)
