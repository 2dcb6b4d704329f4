"""Which entries of a history have an image."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from guest_agent.engine.images import Images
from guest_agent.engine.parts import Parts
from guest_agent.wire.errors import NotFound
from guest_agent.wire.models import ContainerConfig, HistoryEntry, Image, ImageConfig, ImageId

STEPS = tuple(HistoryEntry(created_by=step, empty_layer=step != "a") for step in "abcde")


def image(name: str, steps: int, parent: str = "") -> Image:
    """`steps` of STEPS made it."""
    config = ImageConfig(ImageId(name), "amd64", "linux", "", "", ContainerConfig(), (), history=STEPS[:steps])
    return Image(config, (name,), (), (7,), 1, parent)


def told(*images: Image) -> list[tuple[str, int, str]]:
    """The first one's history: step, size, image."""
    known = {one.config.id: one for one in images}

    def get(name: ImageId) -> Image:
        if name not in known:
            raise NotFound(name)
        return known[name]

    parts = SimpleNamespace(images=SimpleNamespace(find=get, get=get))
    lines = Images(cast(Parts, parts)).history(images[0].config.id)
    return [(line.entry.created_by, line.size, line.image.config.id if line.image else "") for line in lines]


def test_a_base_has_its_last_entry() -> None:
    """A build makes one image of many steps, where docker's classic builder made one of each."""
    family = image("app", 5, "base"), image("base", 2, "root"), image("root", 1)
    assert told(*family) == [("e", 0, "app"), ("d", 0, ""), ("c", 0, ""), ("b", 0, "base"), ("a", 7, "root")]


def test_a_base_without_history_or_gone_has_none() -> None:
    assert told(image("app", 2, "base"), image("base", 0)) == [("b", 0, "app"), ("a", 7, "")]
    assert told(image("app", 1, "gone")) == [("a", 7, "app")]
