"""The options that stand before the verb."""

from guest_agent.wire.errors import HostvmError
from hostvm.cli.failure import Failure
from hostvm.settings import Settings

#: --log-level is docker's own; we have nothing to say below a warning.
_WITH_VALUE = frozenset(
    {"--host", "-H", "--machine", "-m", "--context", "-c", "--config", "--log-level", "-l"}
)  # fmt: skip


def take_globals(words: list[str], settings: Settings) -> list[str]:
    """Puts the leading options into the settings and gives the words from the verb on; [] where help is wanted."""
    rest = list(words)
    values: list[tuple[str, str]] = []
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        name, has_value, value = word.partition("=")
        if name in ("--help", "-h"):
            return []
        if name in ("--debug", "-D"):
            continue
        if name not in _WITH_VALUE:
            raise _unknown(word)
        if not has_value and not rest:
            raise _unknown(word, f"flag needs an argument: {word}")
        values.append((name, value if has_value else rest.pop(0)))
    # --config first, wherever it stands: it says where the contexts are.
    for name, value in sorted(values, key=lambda pair: pair[0] != "--config"):
        _set(settings, name, value)
    return rest


def _set(settings: Settings, name: str, value: str) -> None:
    if name in ("--host", "-H"):
        settings.host, settings.docker_context = value, ""
    elif name in ("--context", "-c"):
        settings.host, settings.docker_context = _host_of_context(value), value
    elif name in ("--machine", "-m"):
        settings.machine = value
    elif name == "--config":
        from os import environ

        environ["DOCKER_CONFIG"] = value


def _host_of_context(name: str) -> str:
    """ "" for the default: it is our own engine. Raises Failure."""
    from hostvm.cli.docker_config import docker_folder
    from hostvm.cli.docker_contexts import find_host

    try:
        return "" if name == "default" else find_host(docker_folder(), name)
    except HostvmError as error:
        raise Failure(error.message, 1) from error


def _unknown(word: str, message: str = "") -> Failure:
    text = message or (
        f"unknown flag: {word}" if word.startswith("--") else f"unknown shorthand flag: '{word[1]}' in {word}"
    )
    return Failure(
        f"{text}\n\nUsage:  hostvm [OPTIONS] COMMAND [ARG...]\n\nRun 'hostvm --help' for more information", 125
    )
