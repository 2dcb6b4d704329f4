"""Frozen dataclasses to plain JSON values and back, by their type hints.

Written for records: fields that have their default are left out, unknown fields are ignored (a newer engine wrote
them), missing ones take their default (an older engine wrote it). Anything else that doesn't fit is a ValueError.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")

#: Field tables by class: reading type hints costs 50 times what an encoding does.
_DEFAULTS: dict[type, tuple[tuple[str, Any], ...]] = {}
_HINTS: dict[type, tuple[tuple[str, Any], ...]] = {}

_SCALARS = (str, int, float, bool, type(None))


def to_plain(value: Any) -> Any:
    """JSON-ready: dicts, lists and scalars."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    return {
        name: to_plain(item)
        for name, default in _defaults(type(value))
        if (item := getattr(value, name)) is not default and item != default
    }


def from_plain(cls: type[T], plain: Any) -> T:
    """An instance of the dataclass `cls` from what `to_plain` made. Raises ValueError where it doesn't fit."""
    if not isinstance(plain, dict):
        raise ValueError(f"{cls.__name__} wants an object, found {type(plain).__name__}")
    decoded = {name: _decode(hint, plain[name]) for name, hint in _hints(cls) if name in plain}
    try:
        return cls(**decoded)
    except TypeError as error:
        raise ValueError(str(error)) from error


def _defaults(cls: type) -> tuple[tuple[str, Any], ...]:
    known = _DEFAULTS.get(cls)
    if known is None:
        missing = object()
        known = tuple((field.name, _default_of(field, missing)) for field in dataclasses.fields(cls))
        _DEFAULTS[cls] = known
    return known


def _default_of(field: dataclasses.Field[Any], missing: object) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return missing


def _hints(cls: type) -> tuple[tuple[str, Any], ...]:
    known = _HINTS.get(cls)
    if known is None:
        hints = typing.get_type_hints(cls)
        known = _HINTS[cls] = tuple((field.name, hints[field.name]) for field in dataclasses.fields(cls))
    return known


def _decode(hint: Any, plain: Any) -> Any:
    hint = getattr(hint, "__supertype__", hint)  # NewType
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return None if plain is None else _decode(_without_none(hint), plain)
    if origin is tuple:
        return _decode_tuple(typing.get_args(hint), plain)
    if origin is dict:
        return _decode_dict(typing.get_args(hint)[1], plain)
    if dataclasses.is_dataclass(hint):
        return from_plain(typing.cast(type, hint), plain)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(plain)
    return _scalar(hint, plain)


def _without_none(hint: Any) -> Any:
    return next(argument for argument in typing.get_args(hint) if argument is not type(None))


def _decode_dict(hint: Any, plain: Any) -> dict[str, Any]:
    if not isinstance(plain, dict):
        raise ValueError(f"an object was expected, found {type(plain).__name__}")
    return {key: _decode(hint, item) for key, item in plain.items()}


def _decode_tuple(arguments: tuple[Any, ...], plain: Any) -> tuple[Any, ...]:
    if not isinstance(plain, list):
        raise ValueError(f"a list was expected, found {type(plain).__name__}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_decode(arguments[0], item) for item in plain)
    if len(arguments) != len(plain):
        raise ValueError(f"{len(arguments)} values were expected, found {len(plain)}")
    return tuple(_decode(argument, item) for argument, item in zip(arguments, plain, strict=True))


def _scalar(hint: Any, plain: Any) -> Any:
    if hint in (int, str, bool, float) and not isinstance(plain, hint):
        raise ValueError(f"{hint.__name__} was expected, found {type(plain).__name__}")
    return plain
