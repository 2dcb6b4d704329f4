"""The Dockerfile instructions that change a configuration only: what `commit --change` and `import --change` take."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Callable, Iterable

from guest_agent.runtime.environment import replace_or_append
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerConfig, ContainerPort, Protocol


def apply_changes(config: ContainerConfig, changes: Iterable[str]) -> ContainerConfig:
    """The configuration after all lines. Raises InvalidArgument for an instruction that isn't allowed here."""
    for line in changes:
        name, _space, rest = line.strip().partition(" ")
        instruction = _INSTRUCTIONS.get(name.upper())
        if instruction is None:
            raise InvalidArgument(f"{name or line} is not a valid change command", f"known: {', '.join(_INSTRUCTIONS)}")
        config = instruction(config, rest.strip())
    return config


def parse_words(text: str) -> tuple[str, ...]:
    """The JSON form, or the shell form as `/bin/sh -c`."""
    try:
        words = json.loads(text)
    except ValueError:
        return ("/bin/sh", "-c", text)
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return tuple(words)
    return ("/bin/sh", "-c", text)


def parse_pairs(text: str) -> dict[str, str]:
    """`name=value ...` with shell quoting, or the old `name value`."""
    words = _split(text)
    if words and "=" not in words[0]:
        name, _space, value = text.partition(" ")
        return {name: value.strip()}
    return dict((word.split("=", 1) if "=" in word else [word, ""]) for word in words)


def _parse_port(text: str) -> ContainerPort:
    number, _slash, protocol = text.partition("/")
    if not number.isdecimal() or protocol.lower() not in ("", "tcp", "udp"):
        raise InvalidArgument(f"Invalid containerPort: {text}")
    return ContainerPort(int(number), Protocol(protocol.lower() or "tcp"))


def _list_of(text: str) -> tuple[str, ...]:
    words = parse_words(text)
    return _split(text) if words[:2] == ("/bin/sh", "-c") else words


def _split(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise InvalidArgument(f"{text}: {error}") from error


def _environment(config: ContainerConfig, rest: str) -> ContainerConfig:
    added = [f"{name}={value}" for name, value in parse_pairs(rest).items()]
    return dataclasses.replace(config, environment=replace_or_append(config.environment, added))


def _expose(config: ContainerConfig, rest: str) -> ContainerConfig:
    ports = (*config.exposed_ports, *(_parse_port(word) for word in rest.split()))
    return dataclasses.replace(config, exposed_ports=tuple(dict.fromkeys(ports)))


def _volume(config: ContainerConfig, rest: str) -> ContainerConfig:
    return dataclasses.replace(config, volumes=tuple(dict.fromkeys((*config.volumes, *_list_of(rest)))))


_INSTRUCTIONS: dict[str, Callable[[ContainerConfig, str], ContainerConfig]] = {
    "CMD": lambda config, rest: dataclasses.replace(config, command=parse_words(rest)),
    "ENTRYPOINT": lambda config, rest: dataclasses.replace(config, entrypoint=parse_words(rest)),
    "ENV": _environment,
    "EXPOSE": _expose,
    "LABEL": lambda config, rest: dataclasses.replace(config, labels={**config.labels, **parse_pairs(rest)}),
    "ONBUILD": lambda config, rest: dataclasses.replace(config, on_build=(*config.on_build, rest)),
    "STOPSIGNAL": lambda config, rest: dataclasses.replace(config, stop_signal=rest),
    "USER": lambda config, rest: dataclasses.replace(config, user=rest),
    "VOLUME": _volume,
    "WORKDIR": lambda config, rest: dataclasses.replace(config, working_dir=rest),
}
