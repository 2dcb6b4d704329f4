"""What the platform of an image means for a container of it."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from guest_agent.engine.making import check_platform
from guest_agent.wire.errors import NotFound
from guest_agent.wire.models import ContainerConfig, ImageConfig, ImageId


def image(architecture: str, system: str = "linux") -> ImageConfig:
    return ImageConfig(ImageId("sha256:0"), architecture, system, "", "", ContainerConfig(), ())


@pytest.fixture(autouse=True)
def x86(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="x86_64"))


def test_an_image_of_another_machine_is_warned_of() -> None:
    (warning,) = check_platform("far", image("arm64"), "")
    assert warning == (
        "The requested image's platform (linux/arm64) does not match the detected host platform (linux/amd64) and no "
        "specific platform was requested"
    )
    assert check_platform("near", image("amd64"), "") == check_platform("old", image("386"), "") == ()


def test_an_image_that_is_not_the_one_asked_for() -> None:
    with pytest.raises(NotFound) as caught:
        check_platform("busybox", image("amd64"), "linux/arm64")
    assert caught.value.message == (
        "image with reference busybox was found but does not match the specified platform: wanted linux/arm64, "
        "actual: linux/amd64"
    )
    assert check_platform("busybox", image("arm64"), "linux/arm64/v8") == ()
