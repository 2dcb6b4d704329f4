"""Credentials that are sent along with a build."""

from __future__ import annotations

import asyncio

import pytest

from guest_agent.engine.build_client import BuildClient
from guest_agent.wire.models import Credentials

ANN = Credentials(username="ann")


@pytest.mark.parametrize(
    ("key", "registry", "found"),
    [
        ("host:5000", "host:5000", ANN),
        ("https://host", "host", ANN),
        ("https://host/v1/", "host", ANN),
        ("https://index.docker.io/v1/", "docker.io", ANN),
        ("index.docker.io", "docker.io", ANN),
        ("host", "other", None),
    ],
)
def test_a_registry_by_any_of_its_names(key: str, registry: str, found: Credentials | None) -> None:
    async def ask() -> Credentials | None:
        return await BuildClient({key: ANN}).credentials_of(registry)

    assert asyncio.run(ask()) == found
