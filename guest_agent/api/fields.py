"""Reading typed fields out of parsed JSON at the door.

As Go's decoder for dockerd: unknown fields are ignored, a field's name is found in any case where it isn't there as it
is, null is the default, a value of the wrong type is an error that names its field.
"""

from __future__ import annotations

from typing import NoReturn

from guest_agent.wire.errors import InvalidArgument

_GO_KINDS = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}


class Fields:
    """One JSON object; `path` is where it stands, for messages ("HostConfig.RestartPolicy")."""

    def __init__(self, values: dict[str, object], path: str = "") -> None:
        self._values = values
        self._path = path
        self._folded: dict[str, object] | None = None

    def _value(self, name: str) -> object:
        """docker-py says `detachKeys`, as dockerd's own description doesn't."""
        if name in self._values:
            return self._values[name]
        if self._folded is None:
            self._folded = {key.lower(): value for key, value in self._values.items()}
        return self._folded.get(name.lower())

    def __contains__(self, name: str) -> bool:
        return self._value(name) is not None

    def raw(self, name: str) -> object:
        return self._value(name)

    def text(self, name: str, default: str = "") -> str:
        value = self._value(name)
        if value is None:
            return default
        return value if isinstance(value, str) else self._refuse(name, value, "string")

    def flag(self, name: str, default: bool = False) -> bool:
        value = self._value(name)
        if value is None:
            return default
        return value if isinstance(value, bool) else self._refuse(name, value, "bool")

    def integer(self, name: str, default: int = 0) -> int:
        value = self._value(name)
        if value is None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # a JSON number is a number: 1e9 is an integer
        if isinstance(value, bool) or not isinstance(value, int) or not -(1 << 63) <= value < 1 << 63:
            self._refuse(name, value, "int64")
        return value

    def texts(self, name: str) -> tuple[str, ...] | None:
        """None where nothing is said: `()` is something else for a command."""
        value = self._value(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self._refuse(name, value, "[]string")
        return tuple(value)

    def text_lists(self, name: str) -> tuple[tuple[str, ...], ...]:
        """A list of lists of strings."""
        value = self._value(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, list) for item in value):
            self._refuse(name, value, "[][]string")
        return tuple(Fields({name: item}, self._path).texts(name) or () for item in value)

    def words(self, name: str) -> tuple[str, ...] | None:
        """Docker's strslice: a list of strings, or one string."""
        value = self._value(name)
        return (value,) if isinstance(value, str) else self.texts(name)

    def text_map(self, name: str) -> dict[str, str]:
        value = self._value(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            self._refuse(name, value, "map[string]string")
        return dict(value)

    def keys(self, name: str) -> tuple[str, ...]:
        """Go's set: the keys of {"80/tcp": {}}."""
        value = self._value(name)
        if value is None:
            return ()
        return tuple(value) if isinstance(value, dict) else self._refuse(name, value, "map[string]struct {}")

    @property
    def names(self) -> tuple[str, ...]:
        """Its own keys."""
        return tuple(self._values)

    def part(self, name: str) -> Fields:
        """A nested object; an empty one if it isn't there."""
        value = self._value(name)
        if value is None:
            return Fields({}, self._at(name))
        return Fields(value, self._at(name)) if isinstance(value, dict) else self._refuse(name, value, "object")

    def parts(self, name: str) -> list[Fields]:
        """A list of objects."""
        value = self._value(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self._refuse(name, value, "[]object")
        return [Fields(item, self._at(name)) for item in value]

    def size(self, name: str) -> tuple[int, int]:
        """A console's [rows, columns]; (0, 0) if it isn't there."""
        value = self._value(name)
        if value is None:
            return 0, 0
        if not isinstance(value, list) or len(value) != 2 or not all(type(item) is int for item in value):
            self._refuse(name, value, "[2]uint")
        return value[0], value[1]

    def _at(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def _refuse(self, name: str, value: object, wanted: str) -> NoReturn:
        kind = _GO_KINDS.get(type(value), "value")
        raise InvalidArgument(
            f"invalid JSON: json: cannot unmarshal {kind} into Go struct field {self._at(name)} of type {wanted}"
        )


def read_fields(value: object) -> Fields:
    """The body of a request; an absent one is an empty object. Raises InvalidArgument on anything but an object."""
    if value is None:
        return Fields({})
    if not isinstance(value, dict):
        kind = _GO_KINDS.get(type(value), "value")
        raise InvalidArgument(f"invalid JSON: json: cannot unmarshal {kind} into a Go value of type object")
    return Fields(value)
