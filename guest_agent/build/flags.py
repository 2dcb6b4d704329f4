"""Flags of instructions: `--chown=a`, `--mount=type=cache,target=/x`. Pure."""

from __future__ import annotations

import csv

from guest_agent.build.instructions import MountKind, RunMount
from guest_agent.build.reading import Line
from guest_agent.build.suggesting import suggestion
from guest_agent.wire.sizes import parse_size

_BOOLEANS = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}


class Flags:
    """The flags of one line. Raises DockerfileError for one that isn't `allowed`, or is there twice."""

    def __init__(self, line: Line, allowed: tuple[str, ...], many: tuple[str, ...] = ()) -> None:
        self._line = line
        self._values: dict[str, list[str]] = {}
        for word in line.flags:
            name, equals, value = word[2:].partition("=")
            if name not in (*allowed, *many):
                meant = suggestion(name, (*allowed, *many))
                raise line.fail(f"unknown flag: {name}{meant}", f"{line.keyword} knows {_listed((*allowed, *many))}")
            if name in self._values and name not in many:
                raise line.fail(f"duplicate flag specified: {name}")
            self._values.setdefault(name, []).append(value if equals else "\0")

    def text(self, name: str) -> str:
        values = self.texts(name)
        return values[0] if values else ""

    def texts(self, name: str) -> tuple[str, ...]:
        values = tuple(self._values.get(name, ()))
        if "\0" in values:
            raise self._line.fail(f"missing a value on flag: {name}")
        return values

    def flag(self, name: str) -> bool | None:
        """None where it isn't there."""
        if name not in self._values:
            return None
        value = self._values[name][0]
        if value == "\0":
            return True
        if value.lower() not in _BOOLEANS:
            raise self._line.fail(f"expecting boolean value for flag {name}, not: {value}")
        return _BOOLEANS[value.lower()]


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"--{name}" for name in names) or "no flags"


def parse_mount(line: Line, text: str) -> RunMount:
    """The value of RUN --mount. Raises DockerfileError in BuildKit's words."""
    values = _read_fields(line, text)
    kind_name = values.pop("type", MountKind.BIND.value).lower()
    if kind_name not in tuple(MountKind):
        raise line.fail(f'unsupported mount type "{kind_name}"', f"known: {', '.join(MountKind)}")
    kind = MountKind(kind_name)
    mount = RunMount(
        kind=kind,
        target=values.pop("target", ""),
        source=values.pop("source", ""),
        origin=_origin(line, values.pop("from", "")),
        id=values.pop("id", ""),
        read_only=_access(line, values),
        sharing=_sharing(line, values.pop("sharing", "shared")),
        required=_boolean(line, "required", values.pop("required", "false")),
        env=values.pop("env", ""),
        size=_size(line, values.pop("size", "")),
        mode=_octal(line, values.pop("mode", "")),
        uid=_number(line, "uid", values.pop("uid", "0")),
        gid=_number(line, "gid", values.pop("gid", "0")),
    )
    if values:
        raise line.fail(f"unexpected key '{next(iter(values))}' in '{text}'")
    if not mount.target and kind in (MountKind.BIND, MountKind.CACHE, MountKind.TMPFS):
        raise line.fail(f"{kind} mount type requires target")
    return mount


_OTHER_NAMES = {"dst": "target", "destination": "target", "src": "source", "ro": "readonly", "rw": "readwrite"}


def _read_fields(line: Line, text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for field in next(csv.reader([text], strict=False), []):
        name, equals, value = field.partition("=")
        name = _OTHER_NAMES.get(name.lower(), name.lower())
        if not equals and name not in ("readonly", "readwrite", "required"):
            raise line.fail(f"invalid field '{field}' must be a key=value pair")
        values[name] = value if equals else "true"
    return values


def _access(line: Line, values: dict[str, str]) -> bool | None:
    readonly, readwrite = values.pop("readonly", None), values.pop("readwrite", None)
    if readonly is not None:
        return _boolean(line, "readonly", readonly)
    return None if readwrite is None else not _boolean(line, "readwrite", readwrite)


def _boolean(line: Line, name: str, value: str) -> bool:
    if value.lower() not in _BOOLEANS:
        raise line.fail(f"invalid value for {name}: {value}")
    return _BOOLEANS[value.lower()]


def _sharing(line: Line, value: str) -> str:
    if value.lower() not in ("shared", "private", "locked"):
        raise line.fail(f'unsupported sharing value "{value}"', "known: shared, private, locked")
    return value.lower()


def _origin(line: Line, name: str) -> str:
    if "$" in name:
        raise line.fail("'from' doesn't support variable expansion, define alias stage instead")
    return name


def _size(line: Line, value: str) -> int:
    try:
        return parse_size(value) if value else 0
    except ValueError:
        raise line.fail(f"invalid value for size: {value}") from None


def _octal(line: Line, value: str) -> int | None:
    try:
        return int(value, 8) if value else None
    except ValueError:
        raise line.fail(f"invalid value {value} for mode") from None


def _number(line: Line, name: str, value: str) -> int:
    if not value.isdecimal() or len(value) > 10:
        raise line.fail(f"invalid value {value} for {name}")
    return int(value)
