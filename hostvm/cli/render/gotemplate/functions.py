"""The functions of a template: Go's own, and those that docker adds (cli/templates).

Every one takes values and gives a value, and raises TemplateError at what Go refuses.
"""

from hostvm.cli.render.gotemplate import TemplateError
from hostvm.cli.render.gotemplate.printing import sprint, sprint_line, sprintf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Missing:
    """What a map has for a key that it doesn't have: it prints `<no value>` and is false."""

    def __repr__(self) -> str:
        return "<no value>"


MISSING = Missing()


def is_true(value: object) -> bool:
    """Go's truth: not false, 0, nil, or empty."""
    return not isinstance(value, Missing) and bool(value)


def _json(value: object) -> str:
    from hostvm.client.jsontext import compact

    plain = getattr(value, "as_json", None)
    if plain:
        return safe_for_html(compact(plain()))  # as Go's json.Marshal, by which docker's rows marshal themselves
    return compact(None if isinstance(value, Missing) else value)


def safe_for_html(text: str) -> str:
    """JSON without the three signs that HTML knows."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _index(value: object, *keys: object) -> object:
    for key in keys:
        value = _index_one(value, key)
    return value


def _index_one(value: object, key: object) -> object:
    if isinstance(value, dict):
        return value.get(key, "" if value and all(isinstance(item, str) for item in value.values()) else MISSING)
    if isinstance(value, list | str):
        if not isinstance(key, int) or isinstance(key, bool):
            raise TemplateError(f"error calling index: cannot index slice/array with type {type(key).__name__}")
        if not 0 <= key < len(value):
            raise TemplateError(f"error calling index: reflect: slice index out of range: {key}")
        return ord(value[key]) if isinstance(value, str) else value[key]
    if value is None or isinstance(value, Missing):
        raise TemplateError("error calling index: index of untyped nil")
    raise TemplateError(f"error calling index: can't index item of type {type(value).__name__}")


def _slice(value: object, *bounds: object) -> object:
    if not isinstance(value, str | list):
        raise TemplateError(f"error calling slice: can't slice item of type {type(value).__name__}")
    numbers = [bound for bound in bounds if isinstance(bound, int)]
    start = numbers[0] if numbers else 0
    end = numbers[1] if len(numbers) > 1 else len(value)
    if not 0 <= start <= end <= len(value):
        raise TemplateError(f"error calling slice: index out of range: {end}")
    return value[start:end]


def _len(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, list | dict):
        return len(value)
    raise TemplateError(f"error calling len: len of type {'nil' if value is None else type(value).__name__}")


def _compare(operator: str, left: object, right: object) -> bool:
    if isinstance(left, bool) or isinstance(right, bool) or not isinstance(left, type(right)):
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if not numbers or isinstance(left, bool) or isinstance(right, bool):
            raise TemplateError(f"error calling {operator}: incompatible types for comparison")
    if not isinstance(left, int | float | str):
        raise TemplateError(f"error calling {operator}: invalid type for comparison")
    return {"lt": left < right, "le": left <= right, "gt": left > right, "ge": left >= right}[operator]  # type: ignore[operator]


def _equal(left: object, right: object) -> bool:
    if isinstance(left, bool) != isinstance(right, bool):
        raise TemplateError("error calling eq: incompatible types for comparison")
    if isinstance(left, str) != isinstance(right, str) and None not in (left, right):
        if MISSING in (left, right):
            return False
        raise TemplateError("error calling eq: incompatible types for comparison")
    return left == right


def _eq(left: object, *others: object) -> bool:
    if not others:
        raise TemplateError("error calling eq: missing argument for comparison")
    return any(_equal(left, other) for other in others)


def _text(value: object) -> str:
    return value if isinstance(value, str) else sprint(value)


def _join(values: object, separator: object) -> str:
    if values is None or isinstance(values, Missing):
        return ""
    if not isinstance(values, list):
        raise TemplateError(f"wrong type for value; expected []string; got {type(values).__name__}")
    return _text(separator).join(_text(value) for value in values)


def _truncate(text: object, length: object) -> str:
    return _text(text)[: length if isinstance(length, int) else 0]


def _html(value: object) -> str:
    escapes = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"}
    return "".join(escapes.get(letter, letter) for letter in _text(value))


_JS_ESCAPES = {
    "\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D",
}  # fmt: skip


def _js(value: object) -> str:
    return "".join(
        _JS_ESCAPES.get(letter) or (letter if letter >= " " else f"\\u{ord(letter):04X}") for letter in _text(value)
    )


def _urlquery(value: object) -> str:
    from urllib.parse import quote_plus

    return quote_plus(_text(value))


def _split(text: object, separator: object) -> list[str]:
    """Without a separator into letters, as Go's strings.Split."""
    return _text(text).split(_text(separator)) if separator else list(_text(text))


def _pad(text: object, before: object, after: object) -> str:
    if not text:
        return ""
    return (
        " " * (before if isinstance(before, int) else 0) + _text(text) + " " * (after if isinstance(after, int) else 0)
    )


FUNCTIONS: "dict[str, Callable[..., object]]" = {
    "json": _json,
    "index": _index,
    "slice": _slice,
    "len": _len,
    "not": lambda value: not is_true(value),
    "eq": _eq,
    "ne": lambda left, right: not _equal(left, right),
    "lt": lambda left, right: _compare("lt", left, right),
    "le": lambda left, right: _compare("le", left, right),
    "gt": lambda left, right: _compare("gt", left, right),
    "ge": lambda left, right: _compare("ge", left, right),
    "print": sprint,
    "println": sprint_line,
    "printf": sprintf,
    "join": _join,
    "split": _split,
    "lower": lambda text: _text(text).lower(),
    "upper": lambda text: _text(text).upper(),
    "title": lambda text: _text(text).title(),
    "html": _html,
    "js": _js,
    "urlquery": _urlquery,
    "truncate": _truncate,
    "pad": _pad,
}
