"""--label beside what the Dockerfile says."""

from __future__ import annotations

import pytest

from guest_agent.build.labelling import with_labels
from guest_agent.build.parsing import parse_dockerfile
from guest_agent.build.planning import plan_build
from guest_agent.build.state import StageState, apply
from guest_agent.build.variables import Arguments, Platforms
from guest_agent.wire.models import ContainerConfig


@pytest.mark.parametrize("escape", ["\\", "`"])
def test_a_label_is_taken_as_it_is(escape: str) -> None:
    """It comes from the command line, where the shell has replaced and unquoted already."""
    dockerfile = parse_dockerfile(f"# escape={escape}\nFROM x AS other\nFROM other".encode())
    plan = plan_build(dockerfile, "", {}, Platforms("linux/amd64", "linux/amd64"))
    labels = {"b": '$HOME \\ ` "it\'s"', "a": ""}
    others, target = with_labels(plan, labels).stages
    assert others == plan.stages[0]
    [step] = target.stage.instructions
    state, comment = apply(StageState(ContainerConfig(), Arguments({}, {}), escape), step)
    assert state.config.labels == labels and comment == f"LABEL a= b={labels['b']}"
    assert with_labels(plan, {}) is plan
