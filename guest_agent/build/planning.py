"""The graph of a build: which stages are needed for the target, and what each waits for. Pure.

A stage waits for the stage that it begins with, and for those that its COPY --from and RUN --mount=from name. What
nobody needs isn't in the plan, and isn't built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from guest_agent.build.expansion import ExpansionError, expand_word
from guest_agent.build.instructions import Arg, Copy, Dockerfile, Instruction, OnBuild, Run, Stage
from guest_agent.build.parsing import parse_trigger
from guest_agent.build.reading import DockerfileError
from guest_agent.build.variables import Arguments, Platforms
from guest_agent.wire.errors import InvalidArgument

SCRATCH = "scratch"
FindTriggers = Callable[[str], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where files come from: a stage by its index, a context that the client named, or an image."""

    stage: int | None = None
    context: str = ""
    image: str = ""


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """`base` is a stage or an image (SCRATCH: nothing); `origins` has each `from` of its instructions as written."""

    stage: Stage
    base: Origin
    platform: str  #: "" = the build's
    origins: Mapping[str, Origin]
    needs: frozenset[int]  #: stages that must be done before


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """`stages` are in the Dockerfile's order; the last one is the target."""

    stages: tuple[PlannedStage, ...]
    global_arguments: Mapping[str, str]
    known_arguments: frozenset[str]  #: every name that some ARG declares
    escape: str

    def find_origin(self, planned: PlannedStage, name: str) -> Origin:
        """Of any `from`; one that came with the triggers of an image just pulled finds a stage that is built anyhow."""
        if name in planned.origins:
            return planned.origins[name]
        if name and name == planned.base.context:
            return planned.base
        before = [one.stage for one in self.stages if one.stage.index < planned.stage.index]
        named = [stage.index for stage in before if name and name.lower() in (stage.name, str(stage.index))]
        return Origin(stage=named[-1]) if named else Origin(image=name)


def plan_build(
    dockerfile: Dockerfile,
    target: str,
    given: Mapping[str, str],
    platforms: Platforms,
    contexts: frozenset[str] = frozenset(),
    find_triggers: FindTriggers = lambda _name: (),
) -> BuildPlan:
    """`given` are the build arguments, `contexts` the names of further contexts. Raises InvalidArgument.

    `find_triggers` gives the ONBUILD of an image, or of a context that is one; nothing where it isn't here yet.
    """
    planner = _Planner(dockerfile, given, platforms, contexts, find_triggers)
    index = planner.find_target(target)
    needed = planner.needed_for(index)
    names = {name for arg in dockerfile.arguments for name, _ in arg.pairs}
    return BuildPlan(
        tuple(needed[key] for key in sorted(needed)),
        planner.globals,
        frozenset(names | _declared_names(dockerfile)),
        dockerfile.escape,
    )


def _declared_names(dockerfile: Dockerfile) -> set[str]:
    instructions = (one for stage in dockerfile.stages for one in stage.instructions)
    return {name for one in instructions if isinstance(one, Arg) for name, _ in one.pairs}


class _Planner:
    def __init__(
        self,
        dockerfile: Dockerfile,
        given: Mapping[str, str],
        platforms: Platforms,
        contexts: frozenset[str],
        find_triggers: FindTriggers,
    ) -> None:
        self._stages = dockerfile.stages
        self._find_triggers = find_triggers
        self._escape = dockerfile.escape
        self._contexts = contexts
        self.globals = _evaluate_globals(dockerfile, given, platforms)

    def find_target(self, target: str) -> int:
        """By name or number; the last stage for ""."""
        if not target:
            return len(self._stages) - 1
        found = self._find_stage(target, len(self._stages))
        if found is None:
            raise InvalidArgument(f'target stage "{target}" could not be found', _names_hint(self._stages))
        return found

    def needed_for(self, target: int) -> dict[int, PlannedStage]:
        planned: dict[int, PlannedStage] = {}
        pending = [target]
        while pending:
            index = pending.pop()
            if index not in planned:
                planned[index] = self._plan(self._stages[index])
                pending += planned[index].needs
        return planned

    def _plan(self, stage: Stage) -> PlannedStage:
        base = self._base(stage)
        instructions = (*stage.instructions, *self._triggers(base))
        _check_numbers(instructions, stage.index)
        origins = {name: self._origin(name, stage.index) for name in _origin_names(instructions)}
        needs = {origin.stage for origin in (base, *origins.values()) if origin.stage is not None}
        return PlannedStage(stage, base, self._expand(stage, stage.platform), origins, frozenset(needs))

    def _triggers(self, base: Origin) -> Iterator[Instruction]:
        """ONBUILD of what a stage begins with."""
        if base.stage is None:
            triggers = self._find_triggers(base.image or base.context)
        else:
            instructions = self._stages[base.stage].instructions
            triggers = tuple(one.trigger for one in instructions if isinstance(one, OnBuild))
        return (parse_trigger(trigger, self._escape) for trigger in triggers)

    def _base(self, stage: Stage) -> Origin:
        name = self._expand(stage, stage.base)
        if not name:
            raise DockerfileError(stage.line.number, f"base name ({stage.base}) should not be blank")
        return self._origin(name, stage.index, by_number=False)

    def _origin(self, name: str, before: int, by_number: bool = True) -> Origin:
        """Stages first, then the client's contexts, then images."""
        found = self._find_stage(name, before, by_number)
        if found is not None:
            return Origin(stage=found)
        if name.lower() in self._contexts:  # as the client sends their names
            return Origin(context=name.lower())
        return Origin(image=name)

    def _find_stage(self, name: str, before: int, by_number: bool = True) -> int | None:
        """A later stage of the same name hides an earlier one."""
        named = [stage.index for stage in self._stages[:before] if stage.name and stage.name == name.lower()]
        if named:
            return named[-1]
        if by_number and name.isascii() and name.isdecimal() and _number(name) < before:
            return _number(name)
        return None

    def _expand(self, stage: Stage, text: str) -> str:
        try:
            return expand_word(text, self.globals.get, self._escape)
        except ExpansionError as error:
            raise stage.line.fail(f'failed to process "{text}": {error}') from error


def _names_hint(stages: tuple[Stage, ...]) -> str:
    names = ", ".join(stage.name for stage in stages if stage.name)
    return f"there are the stages {names}" if names else "no stage has a name"


def _origin_names(instructions: Iterable[Instruction]) -> Iterator[str]:
    for instruction in instructions:
        if isinstance(instruction, Copy) and instruction.origin:
            yield instruction.origin
        elif isinstance(instruction, Run):
            yield from (mount.origin for mount in instruction.mounts if mount.origin)


def _check_numbers(instructions: Iterable[Instruction], current: int) -> None:
    """A number in COPY --from is never an image."""
    for instruction in instructions:
        name = instruction.origin if isinstance(instruction, Copy) else ""
        if name.isascii() and name.isdecimal() and _number(name) >= current:
            reason = "refers to current build stage" if _number(name) == current else "index out of bounds"
            raise InvalidArgument(f"invalid from flag value {name}: {reason}")


def _number(digits: str) -> int:
    """A stage's; a huge one stays one that no stage has."""
    return int(digits.lstrip("0")[:10] or "0")


def _evaluate_globals(dockerfile: Dockerfile, given: Mapping[str, str], platforms: Platforms) -> dict[str, str]:
    """ARGs before the first FROM; each may use the ones before it."""
    arguments = Arguments(given, {})
    predefined = platforms.arguments()
    for arg in dockerfile.arguments:
        for name, default in arg.pairs:
            known = {**predefined, **{key: value for key, value in arguments.declared.items() if value is not None}}
            try:
                value = None if default is None else expand_word(default, known.get, dockerfile.escape)
            except ExpansionError as error:
                raise arg.line.fail(f'failed to process "{default}": {error}') from error
            arguments = arguments.declare(name, predefined.get(name) if value is None else value)
    declared = {name: value for name, value in arguments.declared.items() if value is not None}
    overridden = {name: given[name] for name in predefined if name in given}
    return {**predefined, **overridden, **declared}
