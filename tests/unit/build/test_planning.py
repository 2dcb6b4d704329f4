"""The graph: which stages are built, and what each waits for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.build.numbering import number_steps
from guest_agent.build.parsing import parse_dockerfile
from guest_agent.build.planning import BuildPlan, Origin, plan_build
from guest_agent.build.variables import Platforms
from guest_agent.wire.errors import InvalidArgument

PLATFORMS = Platforms("linux/amd64", "linux/arm64/v8")


def plan(text: str, target: str = "", given: dict[str, str] | None = None, contexts: tuple[str, ...] = ()) -> BuildPlan:
    return plan_build(parse_dockerfile(text.encode()), target, given or {}, PLATFORMS, frozenset(contexts))


DIAMOND = """
FROM base AS a
FROM a AS b
FROM base AS c
RUN --mount=type=bind,from=b,target=/b true
FROM scratch AS unused
FROM scratch
COPY --from=c / /
COPY --from=1 / /
COPY --from=busybox:1 / /
"""


def test_only_what_the_target_needs() -> None:
    stages = plan(DIAMOND).stages
    assert [(one.stage.index, sorted(one.needs)) for one in stages] == [(0, []), (1, [0]), (2, [1]), (4, [1, 2])]
    assert stages[-1].origins == {"c": Origin(stage=2), "1": Origin(stage=1), "busybox:1": Origin(image="busybox:1")}
    assert [one.stage.index for one in plan(DIAMOND, "B").stages] == [0, 1]
    assert [one.stage.index for one in plan(DIAMOND, "3").stages] == [3]


def test_an_unknown_target() -> None:
    with pytest.raises(InvalidArgument, match=r'^target stage "z" could not be found$') as caught:
        plan(DIAMOND, "z")
    assert caught.value.hint == "there are the stages a, b, c, unused"


def test_arguments_in_front_of_the_first_stage() -> None:
    text = "ARG V=1\nARG NAME=app:$V\nFROM --platform=$BUILDPLATFORM $NAME AS x\nFROM app-$TARGETARCH"
    first = plan(text, "x").stages[0]
    assert (first.base.image, first.platform) == ("app:1", "linux/amd64")
    assert plan(text, "x", {"V": "2"}).stages[0].base.image == "app:2"
    assert plan(text).stages[0].base.image == "app-arm64"


def test_a_blank_base() -> None:
    with pytest.raises(InvalidArgument, match=r"line 1: base name \(\$X\) should not be blank"):
        plan("FROM $X")


def test_a_named_context_beats_an_image() -> None:
    assert plan("FROM deps", contexts=("deps",)).stages[0].base == Origin(context="deps")
    assert plan("FROM x\nCOPY --from=Deps / /", contexts=("deps",)).stages[0].origins["Deps"] == Origin(context="deps")


def test_triggers_of_a_stage_are_for_the_one_on_top_of_it() -> None:
    text = "FROM x AS tools\nFROM x AS base\nONBUILD COPY --from=tools / /\nFROM base"
    stages = plan(text).stages
    assert [(one.stage.index, sorted(one.needs)) for one in stages] == [(0, []), (1, []), (2, [0, 1])]


def test_a_trigger_of_an_image_finds_stages() -> None:
    found = plan("FROM x AS tools\nFROM image\nCOPY --from=tools /a /")
    *_, last = found.stages
    assert found.find_origin(last, "Tools") == found.find_origin(last, "0") == Origin(stage=0)
    assert found.find_origin(last, "other") == Origin(image="other")
    assert found.find_origin(last, "") == Origin(image="")


def test_triggers_of_an_image_that_is_here_are_planned() -> None:
    dockerfile = parse_dockerfile(b"FROM x AS tools\nFROM image")
    triggers = {"image": ("RUN true", "COPY --from=tools /a /")}
    planned = plan_build(dockerfile, "", {}, PLATFORMS, find_triggers=lambda name: triggers.get(name, ()))
    assert [sorted(one.needs) for one in planned.stages] == [[], [0]]


def test_numbers_of_stages() -> None:
    origin = plan("FROM x\nFROM x\nCOPY --from=0000000000 / /").stages[-1].origins["0000000000"]
    assert origin == Origin(stage=0)
    for number, reason in (("1", "refers to current build stage"), ("0000000005", "index out of bounds")):
        with pytest.raises(InvalidArgument, match=f"^invalid from flag value {number}: {reason}$"):
            plan(f"FROM x\nFROM x\nCOPY --from={number} / /")


@st.composite
def dockerfiles(draw: st.DrawFn) -> str:
    lines = []
    for index in range(draw(st.integers(1, 6))):
        bases = ["scratch", *(f"s{before}" for before in range(index))]
        lines.append(f"FROM {draw(st.sampled_from(bases))} AS s{index}")
        lines += [
            f"COPY --from=s{draw(st.integers(0, index - 1))} / /" for _ in range(draw(st.integers(0, 2))) if index
        ]
    return "\n".join(lines)


@given(dockerfiles())
def test_a_plan_is_closed_and_ordered(text: str) -> None:
    """Every stage that a planned stage needs is planned, and stands before it."""
    seen: set[int] = set()
    for planned in plan(text).stages:
        assert planned.needs <= seen
        seen.add(planned.stage.index)


def test_steps_have_numbers_in_the_order_of_the_dockerfile() -> None:
    text = "ARG A\nARG B\nFROM x AS a\nRUN 1\nFROM y\nRUN 2\nFROM a\nCOPY . /\nRUN 3"
    numbers = number_steps(plan(text).stages, 2)
    assert (numbers.first, numbers.total) == ({0: 3, 2: 5}, 7), "what isn't built has none"
