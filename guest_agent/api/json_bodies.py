"""JSON in requests: read as strictly as dockerd's `httputils.ReadJSON`, and refused in its words. Pure."""

from __future__ import annotations

import json
import re
from typing import NoReturn

from guest_agent.wire.errors import InvalidArgument

JSON_TYPE = "application/json"

_IN_STRING = "in string literal"

#: What Python's parser misses -> where Go's says that it found something else.
_PLACES = (
    ("Expecting value", "looking for beginning of value"),
    ("Expecting property name", "looking for beginning of object key string"),
    ("Illegal trailing comma", "looking for beginning of object key string"),
    ("Expecting ':'", "after object key"),
    ("Expecting ','", "after object key:value pair"),
    ("Invalid control character", _IN_STRING),
    ("Invalid \\", "in string escape code"),
)
_MEDIA_TYPE = re.compile(r"\s*([\w!#$&^.+-]+)(?:/([\w!#$&^.+-]+))?\s*(?:;.*)?", re.DOTALL)


def check_content_type(text: str, have_body: bool) -> None:
    """Raises InvalidArgument unless it is JSON; without a body none need be said."""
    if not text and not have_body:
        return
    if not text.strip():
        raise InvalidArgument(f"malformed Content-Type header ({text}): mime: no media type")
    found = _MEDIA_TYPE.fullmatch(text)
    if found is None:
        raise InvalidArgument(f"malformed Content-Type header ({text}): mime: expected slash in first token")
    if f"{found[1]}/{found[2]}".lower() != JSON_TYPE:
        raise InvalidArgument(f"unsupported Content-Type header ({text}): must be '{JSON_TYPE}'")


def parse_json(data: bytes) -> object:
    """The one value in `data`; None where there is nothing. Raises InvalidArgument.

    What is no UTF-8 becomes U+FFFD, as in Go.
    """
    text = data.decode(errors="replace")
    if not text.strip():
        return None
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise InvalidArgument(_in_gos_words(error)) from error
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"invalid JSON: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    """NaN and the infinities are Python's own."""
    raise InvalidArgument(f"invalid JSON: invalid character '{name.lstrip('-')[0]}' looking for beginning of value")


def _in_gos_words(error: json.JSONDecodeError) -> str:
    if error.msg.startswith("Extra data"):
        return "unexpected content after JSON"
    rest = error.doc[error.pos :]
    if not rest.strip() or error.msg.startswith("Unterminated"):
        return "invalid JSON: unexpected EOF"
    where = next((place for start, place in _PLACES if error.msg.startswith(start)), error.msg)
    found = rest if where == _IN_STRING else rest.lstrip()
    return f"invalid JSON: invalid character {_quoted(found[0])} {where}"


def _quoted(character: str) -> str:
    """Go's quoting of a rune."""
    if character == "'":
        return "'\\''"
    return f"'{character.encode('unicode_escape').decode() if not character.isprintable() else character}'"
