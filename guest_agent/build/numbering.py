"""The numbers of a build's steps, as the classic builder shows them: "Step 3/10". Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from guest_agent.build.planning import PlannedStage


@dataclass(frozen=True, slots=True)
class StepNumbers:
    """From 1, in the Dockerfile's order: ARGs before the first FROM, then of each stage its FROM and instructions."""

    first: Mapping[int, int]  #: a stage's index -> its FROM's number
    total: int


def number_steps(stages: Sequence[PlannedStage], arguments: int) -> StepNumbers:
    """`arguments`: how many ARGs stand before the first FROM. Stages that aren't planned have no numbers."""
    first, number = {}, 1 + arguments
    for planned in stages:
        first[planned.stage.index] = number
        number += 1 + len(planned.stage.instructions)
    return StepNumbers(first, number - 1)
