"""What a build tells of its steps one by one, for those who show more than the classic builder's text."""

from __future__ import annotations

from guest_agent.build.planning import BuildPlan


class BuildWatcher:
    """Watches nothing; who wants to know overrides. No method may wait or raise.

    A step is known by its stage's index and its place in it: 0 is FROM, 1 the first instruction. Steps of different
    stages run at the same time. The triggers of an image (ONBUILD) count as a part of FROM.
    """

    def planned(self, plan: BuildPlan) -> None:
        """The Dockerfile was read; steps follow."""

    def began(self, stage: int, place: int) -> None: ...

    def said(self, stage: int, place: int, stream: int, text: str) -> None:
        """A piece of a command's output: 1 or 2."""

    def cached(self, stage: int, place: int) -> None:
        """The step was not carried out: its result was there."""

    def ended(self, stage: int, place: int) -> None: ...

    def failed(self, stage: int, place: int, line: int) -> None:
        """The step that ends the build, and its line of the Dockerfile."""
