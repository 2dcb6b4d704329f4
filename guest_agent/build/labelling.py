"""`--label`: one more LABEL at the target's end, as the classic builder does it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from guest_agent.build.instructions import Label
from guest_agent.build.planning import BuildPlan
from guest_agent.build.reading import Line


def with_labels(plan: BuildPlan, labels: Mapping[str, str]) -> BuildPlan:
    """The plan with a step for the labels; without any it stays as it is."""
    if not labels:
        return plan
    pairs = tuple(sorted(labels.items()))
    text = " ".join(f"{name}={value}" for name, value in pairs)
    quoted = tuple((_literal(name, plan.escape), _literal(value, plan.escape)) for name, value in pairs)
    label = Label(Line(0, "LABEL", text, source=f"LABEL {text}"), quoted)
    *others, target = plan.stages
    stage = replace(target.stage, instructions=(*target.stage.instructions, label))
    return replace(plan, stages=(*others, replace(target, stage=stage)))


def _literal(text: str, escape: str) -> str:
    """Quoted so that nothing in it is expanded."""
    special = (escape, '"', "$")
    return '"' + "".join(escape + letter if letter in special else letter for letter in text) + '"'
