"""Where the behaviour tests keep other people's clients."""

from __future__ import annotations

from tests.behaviour.clients.programs import trixie_folder


def test_other_packages_have_another_folder() -> None:
    """As many of them are others all the same."""
    assert trixie_folder(("docker-cli", "buildx")) == trixie_folder(("docker-cli", "buildx"))
    assert len({trixie_folder(names) for names in (("docker-cli",), ("buildx",), ("docker-clibuildx",))}) == 3
