"""`hostvm __complete WORD...`: what the shells' scripts call. It never starts an engine, and never complains."""

from guest_agent.wire.errors import HostvmError
from hostvm.cli.completion import candidates
from hostvm.cli.output import write_out
from hostvm.client.connection import Engine, connect_unix
from hostvm.settings import Settings


def complete(words: list[str], settings: Settings) -> int:
    """Prints the candidates for the last word."""
    engine = Engine(lambda: connect_unix(settings.socket))

    def names(kind: str) -> list[str]:
        if kind == "machine":
            from hostvm.cli.machine_choice import machine_names

            return machine_names(settings)
        try:
            return _names(engine, kind)
        except (OSError, HostvmError):
            return []

    write_out("".join(line + "\n" for line in candidates(words, names)))
    return 0


def _names(engine: Engine, kind: str) -> list[str]:
    if kind in ("container", "running"):
        records = engine.records("/containers/json" + ("" if kind == "running" else "?all=1"))
        return [name.removeprefix("/") for record in records for name in _texts(record.get("Names"))]
    if kind == "image":
        return [name for record in engine.records("/images/json") for name in _texts(record.get("RepoTags"))]
    if kind == "network":
        return [str(record.get("Name")) for record in engine.records("/networks")]
    if kind == "volume":
        volumes = engine.find("/volumes").get("Volumes")
        return [str(volume.get("Name")) for volume in volumes] if isinstance(volumes, list) else []
    return []


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
