"""Names and removal in docker's rules (moby daemon/images/image_delete.go)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guest_agent.images.configs import parse_time
from guest_agent.images.make import Recipe, make_image
from guest_agent.images.removal import Users
from guest_agent.images.store import ImageStore
from guest_agent.store.content import ContentStore
from guest_agent.store.records import Records
from guest_agent.wire.errors import Conflict, HostFailed, InvalidArgument, NotFound
from guest_agent.wire.models import ContainerConfig, ImageId
from tests.unit.store.full_disk import full_disk

from .fake_layers import FakeLayers, FakeStaging


class Fixture:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.records = Records(str(root / "db"), str(root / "aside"))
        self.layers = FakeLayers(self.records)
        self.images = self.open()

    def open(self) -> ImageStore:
        images = ImageStore(self.records, ContentStore(str(self.root / "content")), self.layers)
        assert images.start() == []
        return images

    def make(self, name: str, layer: bytes = b"1") -> ImageId:
        return asyncio.run(make_image(self.images, Recipe(ContainerConfig(), name, created_ns=5), _once(layer)))

    def remove(self, text: str, force: bool = False, users: Users | None = None) -> list[str]:
        done = asyncio.run(self.images.remove(text, force, users or {}))
        return [f"Untagged: {line.untagged}" if line.untagged else f"Deleted: {line.deleted}" for line in done]


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


@pytest.fixture
def fixture(tmp_path: Path) -> Fixture:
    return Fixture(tmp_path)


def test_documents_stay_while_their_image_comes_again(fixture: Fixture) -> None:
    image_id = fixture.make("app:1")

    async def make_while_it_is_removed() -> ImageId:
        loop = asyncio.get_running_loop()

        def remove() -> None:
            """In the thread that waits for the disk."""
            fixture.layers.on_publish = lambda: None
            removing = asyncio.run_coroutine_threadsafe(fixture.images.remove("app:1", False, {}), loop)
            assert removing.result()[-1].deleted

        fixture.layers.on_publish = remove
        return await make_image(fixture.images, Recipe(ContainerConfig(), "app:1", created_ns=5), _once(b"1"))

    assert asyncio.run(make_while_it_is_removed()) == image_id
    assert fixture.images.config_data(image_id)
    fixture.open()


def test_find(fixture: Fixture) -> None:
    image_id = fixture.make("app:1")
    short = image_id.removeprefix("sha256:")[:6]
    for text in ("app:1", "docker.io/library/app:1", image_id, short, f"sha256:{short}"):
        assert fixture.images.find(text).config.id == image_id
    with pytest.raises(NotFound, match=r"^No such image: app:2$"):
        fixture.images.find("app:2")
    for text, said in (("nosuch", "nosuch:latest"), ("ab" * 32, "sha256:" + "ab" * 32)):
        with pytest.raises(NotFound, match=f"^No such image: {said}$"):
            fixture.images.find(text)
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        fixture.images.find("A B")


def test_names_survive_a_restart(fixture: Fixture) -> None:
    image_id = fixture.make("app:1")
    fixture.images.tag("app:1", "other")
    image = fixture.open().find("other:latest")
    assert (image.config.id, image.tags, image.size) == (image_id, ("app:1", "other:latest"), 100)


def test_no_tag_looks_like_a_digest(fixture: Fixture) -> None:
    fixture.make("app:1")
    with pytest.raises(InvalidArgument, match="ambiguous tag using digest algorithm as name"):
        fixture.images.tag("app:1", "sha256:abc")


def test_a_tag_moves(fixture: Fixture) -> None:
    old, new = fixture.make("app"), fixture.make("app", b"2")
    assert fixture.images.find("app").config.id == new
    assert fixture.images.get(old).tags == ()
    assert fixture.remove(old)[-1].startswith("Deleted: sha256:")


def test_untag_then_delete(fixture: Fixture) -> None:
    image_id = fixture.make("app:1")
    fixture.images.tag("app:1", "app:2")
    assert fixture.remove("app:1") == ["Untagged: app:1"]
    deleted = fixture.remove("app:2")
    assert deleted[:2] == ["Untagged: app:2", f"Deleted: {image_id}"]
    assert (fixture.images.all(), fixture.layers.known()) == ((), ())


def test_by_id_with_several_names(fixture: Fixture) -> None:
    image_id = fixture.make("app:1")
    fixture.images.tag("app:1", "other:1")
    with pytest.raises(Conflict, match=r"\(must be forced\) - image is referenced in multiple repositories"):
        fixture.remove(image_id[:20])
    assert fixture.remove(image_id, force=True)[:2] == ["Untagged: app:1", "Untagged: other:1"]


def test_in_use_by_name(fixture: Fixture) -> None:
    image_id = fixture.make("app:1")
    short = image_id.removeprefix("sha256:")[:12]
    message = (
        r'^conflict: unable to remove repository reference "app:1" \(must force\) - '
        rf"container 0123456789ab is using its referenced image {short}$"
    )
    with pytest.raises(Conflict, match=message):
        fixture.remove("app:1", users={image_id: [("0123456789ab", False)]})
    assert fixture.remove("app:1", True, {image_id: [("0123456789ab", True)]}) == ["Untagged: app:1"]
    assert fixture.images.find(image_id).tags == ()


def test_in_use_by_id(fixture: Fixture) -> None:
    image_id = fixture.make("app:1")
    with pytest.raises(Conflict, match=r"\(cannot be forced\) - image is being used by running container c1$"):
        fixture.remove(image_id, True, {image_id: [("c1", True)]})
    with pytest.raises(Conflict, match=r"\(must be forced\) - image is being used by stopped container c1$"):
        fixture.remove(image_id, False, {image_id: [("c1", False)]})


def test_a_stopped_container_keeps_the_layers_of_a_removed_image(fixture: Fixture) -> None:
    image_id = fixture.make("app:1")
    assert fixture.remove("app:1", True, {image_id: [("c1", False)]}) == ["Untagged: app:1", f"Deleted: {image_id}"]
    assert fixture.images.all() == ()
    images = fixture.open()
    assert images.get(image_id).size == 100
    asyncio.run(images.collect(set()))
    assert fixture.layers.known() == ()


def test_times() -> None:
    assert parse_time("1970-01-01T00:00:01.5Z") == 1_500_000_000
    assert parse_time("1970-01-01T01:00:01.123456789+01:00") == 1_123_456_789
    assert parse_time("0001-01-01T00:00:00Z") == parse_time("nonsense") == 0


def test_an_unreadable_image_keeps_its_layers(fixture: Fixture) -> None:
    """Nobody knows any more which layers are its own: a removal of another image must not take them as unused."""
    broken = fixture.make("broken", b"1")
    fixture.make("whole", b"2")
    (fixture.root / "content" / "sha256" / broken.removeprefix("sha256:")).write_text("{")
    layers = fixture.layers.known()
    images = ImageStore(fixture.records, ContentStore(str(fixture.root / "content")), fixture.layers)
    assert [warning for warning in images.start() if broken in warning]
    fixture.images = images
    assert fixture.remove("whole")[0] == "Untagged: whole:latest"
    assert fixture.layers.known() == layers


@pytest.mark.parametrize("damage", ["configuration", "layer", "record"])
def test_an_unreadable_image_that_comes_again_is_as_good_as_new(fixture: Fixture, damage: str) -> None:
    """It went on being reported, and kept everything; an offline `system check --repair` removed the healthy image."""
    image_id = fixture.make("app:1")
    fixture.images.tag("app:1", "app:2")
    configuration = fixture.root / "content" / "sha256" / image_id.removeprefix("sha256:")
    if damage == "configuration":
        configuration.write_text("{")
    elif damage == "layer":
        fixture.layers.present.clear()
    else:
        fixture.records.put("image", image_id, "[]")
    images = ImageStore(fixture.records, ContentStore(str(fixture.root / "content")), fixture.layers)
    assert [warning for warning in images.start() if image_id in warning]
    fixture.images = images
    assert fixture.make("app:1") == image_id
    assert images.records.damaged() == []
    assert images.get(image_id).tags == ("app:1", "app:2")
    stray = fixture.root / "content" / "sha256" / ("0" * 64)
    stray.write_text("left")
    assert images.records.strays() == [str(stray)]
    assert fixture.open().get(image_id).tags == ("app:1", "app:2")


@pytest.mark.parametrize("readable", [True, False])
def test_an_image_that_a_full_disk_keeps_is_still_there(fixture: Fixture, readable: bool) -> None:
    """Memory forgot it, with its names; after a restart it came back."""
    image_id = fixture.make("app:1")
    tagged = fixture.images.names.tagged_ns(image_id)
    configuration = fixture.root / "content" / "sha256" / image_id.removeprefix("sha256:")
    if not readable:
        configuration.write_text("{")
        fixture.images = ImageStore(fixture.records, ContentStore(str(fixture.root / "content")), fixture.layers)
        assert fixture.images.start()
    with full_disk(fixture.records), pytest.raises(HostFailed):
        fixture.images.forget(image_id)
    assert fixture.layers.known() and configuration.exists()
    assert fixture.images.names.tagged_ns(image_id) == tagged
    if readable:
        assert fixture.images.find("app:1").tags == ("app:1",)
    else:
        assert [damaged for damaged, _ in fixture.images.records.damaged()] == [image_id]
    fixture.images.forget(image_id)
    assert not fixture.layers.known() and fixture.open().all() == ()


def test_blobs_of_an_image_that_is_being_added_are_no_strays(fixture: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are on disk before the record is: a check with --repair set them aside in between."""
    seen: list[list[str]] = []
    monkeypatch.setattr(FakeStaging, "publish", lambda _staging: seen.append(fixture.images.records.strays()))
    fixture.make("app:1")
    assert seen == [[]]
    (stray,) = (fixture.root / "content" / "sha256").iterdir()
    fixture.remove("app:1")
    stray.write_text("left")
    assert fixture.images.records.strays() == [str(stray)]


def test_what_is_attached_to_an_image_stays_and_goes_with_it(fixture: Fixture) -> None:
    image_id = fixture.make("app:1")
    for document in (b"first", b"second"):
        asyncio.run(fixture.images.records.attach(image_id, "text/spdx", document))
    assert fixture.make("again:1") == image_id
    images = fixture.images = fixture.open()
    ((kind, digest),) = images.records.attachments(image_id)
    assert (kind, images.records.attachment(digest)) == ("text/spdx", b"second")
    assert images.records.strays() == []
    assert len(list((fixture.root / "content/sha256").iterdir())) == 2
    fixture.remove(image_id, force=True)
    assert list((fixture.root / "content/sha256").iterdir()) == []
    with pytest.raises(NotFound):
        asyncio.run(images.records.attach(image_id, "text/spdx", b"late"))
    with pytest.raises(NotFound):
        images.records.attachments(image_id)
    with pytest.raises(NotFound):
        images.records.attachment(digest)


def test_a_damaged_document_beside_an_image_is_not_the_images_fault(fixture: Fixture) -> None:
    image_id = fixture.make("app:1")
    asyncio.run(fixture.images.records.attach(image_id, "text/spdx", b"document"))
    Path(fixture.root / "content/sha256" / hashlib.sha256(b"document").hexdigest()).write_bytes(b"damage")
    assert fixture.images.records.damaged() == []
    ((found, kind, problem),) = fixture.images.records.damaged_attachments()
    assert (found, kind, "damaged on disk" in problem) == (image_id, "text/spdx", True)
    fixture.images.records.detach(image_id, "text/spdx")
    assert fixture.images.records.damaged_attachments() == []
    assert fixture.open().records.attachments(image_id) == ()
