"""Whose containers `ps --filter ancestor=…` shows."""

from __future__ import annotations

import pytest

from guest_agent.api.container_list import descends
from guest_agent.wire.models import ContainerConfig, DiffId, Image, ImageConfig, ImageId


def image(name: str, layers: str, parent: str = "") -> Image:
    config = ImageConfig(ImageId(name), "amd64", "linux", "", "", ContainerConfig(), tuple(map(DiffId, layers)))
    return Image(config, (), (), (), 0, parent)


KNOWN = {
    one.config.id: one
    for one in (
        image("base", "a"),
        image("labelled", "a", "base"),
        image("sibling", "ab", "base"),
        image("child", "a", "labelled"),
        image("pulled", "abc"),
        image("orphan", "ad", "removed"),
    )
}


@pytest.mark.parametrize(
    ("ancestor", "descendants"),
    [
        ("base", {"base", "labelled", "sibling", "child", "pulled", "orphan"}),
        # moby's TestPsListContainersFilterAncestorImage: an image that only has other settings has the same layers
        ("labelled", {"labelled", "child", "pulled", "orphan"}),
        ("sibling", {"sibling", "pulled"}),
        ("child", {"child", "pulled", "orphan"}),
    ],
)
def test_descent(ancestor: str, descendants: set[str]) -> None:
    found = {name for name, one in KNOWN.items() if descends(one, KNOWN[ImageId(ancestor)], KNOWN)}
    assert found == descendants
