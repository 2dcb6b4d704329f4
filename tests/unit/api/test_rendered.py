"""Texts are kept as long as what they show is the same, and no longer than what they show is there."""

from __future__ import annotations

from guest_agent.api.rendered import Rendered


def test_a_text_is_rendered_once_for_the_same_sources() -> None:
    rendered = Rendered(lambda: ["a"])
    assert rendered.text("a", ("record", 1), lambda: b"one") == b"one"
    assert rendered.text("a", ("record", 1), lambda: b"never asked for") == b"one"
    assert rendered.text("a", ("record", 2), lambda: b"two") == b"two"


def test_the_dead_are_forgotten() -> None:
    living = ["a", "b"]
    rendered = Rendered(lambda: living)
    for number in range(1000):
        rendered.text(f"dead-{number}", (), lambda: b"")
    rendered.text("a", (), lambda: b"")
    assert len(rendered._kept) <= 65
