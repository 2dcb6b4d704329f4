"""Reports of test runs, side by side."""

from __future__ import annotations

import xml.etree.ElementTree as xml
from collections.abc import Mapping
from dataclasses import dataclass

#: Name of a test -> "passed", "failed" or "skipped".
Outcomes = dict[str, str]


def read_report(path: str) -> Outcomes:
    """A JUnit report -> the outcome of each test; a test with an error in its set-up or tear-down has failed."""
    outcomes: Outcomes = {}
    for case in xml.parse(path).iter("testcase"):
        name = f"{case.get('classname', '')}::{case.get('name', '')}"
        outcome = _outcome({child.tag for child in case})
        outcomes[name] = outcome if outcomes.get(name) != "failed" else "failed"
    return outcomes


def _outcome(tags: set[str]) -> str:
    if tags & {"failure", "error"}:
        return "failed"
    return "skipped" if "skipped" in tags else "passed"


@dataclass(frozen=True, slots=True)
class Score:
    """`gaps`: what the reference passes and we don't; `ahead`: the other way round."""

    reference: int
    both: int
    gaps: tuple[str, ...]
    ahead: tuple[str, ...]

    def __str__(self) -> str:
        share = 100 * self.both / self.reference if self.reference else 100.0
        return f"{self.both} of the {self.reference} that dockerd passes ({share:.1f} %); {len(self.ahead)} more"


def compare(ours: Mapping[str, str], theirs: Mapping[str, str]) -> Score:
    wanted = {name for name, outcome in theirs.items() if outcome == "passed"}
    passed = {name for name, outcome in ours.items() if outcome == "passed"}
    return Score(len(wanted), len(wanted & passed), tuple(sorted(wanted - passed)), tuple(sorted(passed - wanted)))
