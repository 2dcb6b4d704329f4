"""The Dockerfile instructions that change a configuration only: what `commit --change` and `import --change` take."""

from __future__ import annotations

from collections.abc import Iterable

from guest_agent.build.parsing import parse_instruction
from guest_agent.build.reading import DockerfileError, read_lines
from guest_agent.build.state import StageState, apply
from guest_agent.build.variables import Arguments
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerConfig

#: moby, builder/dockerfile: validCommitCommands.
_ALLOWED = (
    "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip


def apply_changes(config: ContainerConfig, changes: Iterable[str]) -> ContainerConfig:
    """The configuration after all lines, which are one Dockerfile. Raises InvalidArgument; it names no line then."""
    try:
        lines, escape = read_lines("\n".join(changes).encode("utf-8", "surrogateescape"))
        state = StageState(config, Arguments({}, {}), escape)
        for line in lines:
            if line.keyword not in _ALLOWED:
                known = ", ".join(_ALLOWED)
                raise InvalidArgument(f"{line.keyword.lower()} is not a valid change command", f"known: {known}")
        for line in lines:
            state, _comment = apply(state, parse_instruction(line, escape))
    except DockerfileError as error:
        raise InvalidArgument(error.reason, error.hint) from error
    return state.config
