"""The Dockerfile instructions that change a configuration only: what `commit --change` and `import --change` take."""

from __future__ import annotations

import dataclasses
import json
import posixpath
import re
import shlex
from collections.abc import Callable, Iterable, Iterator

from guest_agent.engine.health_instruction import parse_healthcheck
from guest_agent.linux.signals import parse_signal
from guest_agent.runtime.environment import replace_or_append
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerConfig, ContainerPort, Protocol

_CONTINUED = re.compile(r"\\[ \t]*\n")
#: What can't be put off to a later build (moby, builder/dockerfile).
_NOT_ON_BUILD = ("ONBUILD", "MAINTAINER", "FROM")


def apply_changes(config: ContainerConfig, changes: Iterable[str]) -> ContainerConfig:
    """The configuration after all lines. Raises InvalidArgument for an instruction that isn't allowed here."""
    for line in _lines(changes):
        name, _space, rest = line.partition(" ")
        instruction = _INSTRUCTIONS.get(name.upper())
        if instruction is None:
            known = ", ".join(_INSTRUCTIONS)
            raise InvalidArgument(f"{name.lower()} is not a valid change command", f"known: {known}")
        rest = rest.strip()
        if not rest:
            raise InvalidArgument(f"{name.upper()} requires {_NEEDS.get(name.upper(), 'at least one argument')}")
        config = instruction(config, rest)
    return config


#: What an instruction without arguments is told.
_NEEDS = {
    "STOPSIGNAL": "exactly one argument",
    "USER": "exactly one argument",
    "WORKDIR": "exactly one argument",
}


def _lines(changes: Iterable[str]) -> Iterator[str]:
    """All of them are one Dockerfile: a backslash continues a line, `#` begins a comment."""
    text = _CONTINUED.sub("", "\n".join(changes).replace("\t", " "))
    return (line.strip() for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#"))


def parse_words(text: str) -> tuple[str, ...]:
    """The JSON form, or the shell form as `/bin/sh -c`."""
    try:
        words = json.loads(text)
    except ValueError:
        return ("/bin/sh", "-c", text)
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return tuple(words)
    return ("/bin/sh", "-c", text)


def parse_pairs(text: str, instruction: str) -> dict[str, str]:
    """`name=value ...` with shell quoting, or the old `name value`."""
    words = _split(text)
    if words and "=" not in words[0]:
        name, space, value = text.partition(" ")
        if not space:
            raise InvalidArgument(f"{instruction} must have two arguments")
        return {name: value.strip()}
    for word in words:
        if "=" not in word:
            raise InvalidArgument(f"Syntax error - can't find = in {json.dumps(word)}. Must be of the form: name=value")
        if word.startswith("="):
            raise InvalidArgument(f"{instruction} names can not be blank")
    return dict(word.split("=", 1) for word in words)


def _parse_port(text: str) -> ContainerPort:
    number, slash, protocol = text.partition("/")
    if slash and protocol.lower() not in [known.value for known in Protocol]:
        raise InvalidArgument(f"invalid proto: {protocol}")
    if not number.isdecimal() or not 0 < int(number) < 1 << 16:
        raise InvalidArgument(f"invalid containerPort: {text}")
    return ContainerPort(int(number), Protocol(protocol.lower() or "tcp"))


def _parse_ports(text: str) -> Iterator[ContainerPort]:
    """`80`, `80/udp`, `8000-8010/tcp`."""
    range_text, slash, protocol = text.partition("/")
    first, dash, last = range_text.partition("-")
    if not dash:
        yield _parse_port(text)
        return
    begin, end = _parse_port(f"{first}{slash}{protocol}"), _parse_port(f"{last}{slash}{protocol}")
    for number in range(begin.number, end.number + 1):
        yield dataclasses.replace(begin, number=number)


def _list_of(text: str) -> tuple[str, ...]:
    words = parse_words(text)
    return _split(text) if words[:2] == ("/bin/sh", "-c") else words


def _split(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise InvalidArgument(f"{text}: {error}") from error


def _command(config: ContainerConfig, rest: str) -> ContainerConfig:
    return dataclasses.replace(config, command=parse_words(rest))


def _entrypoint(config: ContainerConfig, rest: str) -> ContainerConfig:
    return dataclasses.replace(config, entrypoint=parse_words(rest))


def _environment(config: ContainerConfig, rest: str) -> ContainerConfig:
    added = [f"{name}={value}" for name, value in parse_pairs(rest, "ENV").items()]
    return dataclasses.replace(config, environment=replace_or_append(config.environment, added))


def _expose(config: ContainerConfig, rest: str) -> ContainerConfig:
    ports = (*config.exposed_ports, *(port for word in rest.split() for port in _parse_ports(word)))
    return dataclasses.replace(config, exposed_ports=tuple(dict.fromkeys(ports)))


def _healthcheck(config: ContainerConfig, rest: str) -> ContainerConfig:
    return dataclasses.replace(config, healthcheck=parse_healthcheck(rest))


def _label(config: ContainerConfig, rest: str) -> ContainerConfig:
    return dataclasses.replace(config, labels={**config.labels, **parse_pairs(rest, "LABEL")})


def _on_build(config: ContainerConfig, rest: str) -> ContainerConfig:
    name = rest.split()[0].upper()
    if name in _NOT_ON_BUILD:
        chaining = "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"
        raise InvalidArgument(chaining if name == "ONBUILD" else f"{name} isn't allowed as an ONBUILD trigger")
    return dataclasses.replace(config, on_build=(*config.on_build, rest))


def _stop_signal(config: ContainerConfig, rest: str) -> ContainerConfig:
    parse_signal(rest)
    return dataclasses.replace(config, stop_signal=rest)


def _user(config: ContainerConfig, rest: str) -> ContainerConfig:
    return dataclasses.replace(config, user=rest)


def _volume(config: ContainerConfig, rest: str) -> ContainerConfig:
    return dataclasses.replace(config, volumes=tuple(dict.fromkeys((*config.volumes, *_list_of(rest)))))


def _working_dir(config: ContainerConfig, rest: str) -> ContainerConfig:
    """A relative one is below the one before."""
    folder = posixpath.normpath(posixpath.join("/", config.working_dir, rest))
    return dataclasses.replace(config, working_dir=folder)


_INSTRUCTIONS: dict[str, Callable[[ContainerConfig, str], ContainerConfig]] = {
    "CMD": _command,
    "ENTRYPOINT": _entrypoint,
    "ENV": _environment,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _working_dir,
}
