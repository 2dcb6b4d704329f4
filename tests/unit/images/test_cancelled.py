"""Imports and saves that end in the middle of a thread's work: it outlasts them nowhere, and nothing stays open."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import aclosing
from pathlib import Path

import pytest

from guest_agent.images.inquiries import download
from guest_agent.images.make import Recipe, make_image
from guest_agent.images.save import choose_images, save
from guest_agent.images.store import ImageStore
from guest_agent.images.transport import RegistrySettings
from guest_agent.store.content import ContentStore
from guest_agent.store.records import Records
from guest_agent.wire.models import ContainerConfig, DiffId
from tests.unit.held_work import Held

from .fake_layers import FakeLayers, FakeStaging, FakeUnpacker

RECIPE = Recipe(ContainerConfig(), "app:1")


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    records = Records(str(tmp_path / "db"), str(tmp_path / "aside"))
    images = ImageStore(records, ContentStore(str(tmp_path / "content")), FakeLayers(records))
    assert images.start() == []
    return images


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def test_a_silent_web_server_is_not_waited_for() -> None:
    """docker import URL: the server has taken the request and says no more."""

    async def scenario(listener: socket.socket) -> None:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/root.tar"

        async def read() -> None:
            async with aclosing(download(url, RegistrySettings(timeout=3600))) as pieces:
                await anext(pieces)

        reading = asyncio.create_task(read())
        line, _ = await asyncio.to_thread(listener.accept)
        with line:
            await asyncio.to_thread(line.recv, 4096)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(reading, 30)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        asyncio.run(scenario(listener))


@pytest.mark.parametrize("moment", ["write", "finish"])
def test_an_unpacker_is_aborted_when_its_thread_has_ended(
    moment: str, store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, told = Held(), list[bool]()
    monkeypatch.setattr(FakeUnpacker, moment, held.after(getattr(FakeUnpacker, moment)))
    monkeypatch.setattr(FakeUnpacker, "abort", lambda _: told.append(held.go_on.is_set()))
    asyncio.run(held.cancel(make_image(store, RECIPE, once(b"tar"))))
    assert told == [True]


def test_an_unpacker_that_was_just_started_is_aborted(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    held, aborted = Held(), list[FakeUnpacker]()
    monkeypatch.setattr(FakeStaging, "unpacker", held.after(FakeStaging.unpacker))
    monkeypatch.setattr(FakeUnpacker, "abort", lambda unpacker: aborted.append(unpacker))
    asyncio.run(held.cancel(make_image(store, RECIPE, once(b"tar"))))
    assert len(aborted) == 1


def test_a_layer_that_is_saved_is_closed_before_it_may_go(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def tar(layers: FakeLayers, diff_id: DiffId) -> Generator[bytes, None, None]:
        try:
            while True:
                yield b"piece of the layer"
        finally:
            order.append("layer closed")

    async def scenario() -> None:
        await make_image(store, RECIPE, once(b"tar"))
        monkeypatch.setattr(FakeLayers, "tar", tar)
        monkeypatch.setattr(FakeLayers, "tar_size", lambda *_: 1 << 30)
        monkeypatch.setattr(FakeStaging, "close", lambda _: order.append("given back"))
        async with aclosing(save(store, choose_images(store, ["app:1"]))) as pieces:
            async for piece in pieces:
                if piece == b"piece of the layer":
                    break

    asyncio.run(scenario())
    assert order == ["layer closed", "given back"]
