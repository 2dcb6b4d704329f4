from __future__ import annotations

import json
from pathlib import Path

import pytest

from guest_agent.wire.errors import DataDamaged, Unsupported
from vm_images.guest import GuestImage, find_image, verify_image
from vm_images.guest.image import debian_name, image_folder, image_id, machine_name
from vm_images.sums import hash_file


def make_image(cache: Path, arch: str = "x86_64") -> Path:
    folder = Path(image_folder(str(cache), arch))
    folder.mkdir(parents=True)
    for name in ("kernel", "rootfs.cpio"):
        (folder / name).write_bytes(name.encode())
    sums = {name: hash_file(str(folder / name)) for name in ("kernel", "rootfs.cpio")}
    description = {
        "format": 1, "id": image_id(sums), "arch": arch, "python": "3.11", "bytecode": True, "kernel_version": "6",
        "inputs": "i", "files": {name: {"size": len(name), "sha256": sums[name]} for name in sums},
    }  # fmt: skip
    (folder / "image.json").write_text(json.dumps(description))
    return folder


def found(cache: Path, arch: str = "x86_64") -> GuestImage:
    image = find_image(str(cache), arch)
    assert image is not None
    return image


def change(folder: Path, **fields: object) -> None:
    path = folder / "image.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_processors_have_several_names() -> None:
    assert {machine_name(it) for it in ("arm64", "aarch64")} == {"aarch64"}
    assert debian_name("x86_64") == "amd64"
    with pytest.raises(Unsupported, match="riscv64"):
        machine_name("riscv64")


def test_none_where_there_is_none(tmp_path: Path) -> None:
    assert find_image(str(tmp_path), "x86_64") is None


def test_a_whole_one_is_found_under_each_of_the_processors_names(tmp_path: Path) -> None:
    make_image(tmp_path, "aarch64")
    image = found(tmp_path, "arm64")
    assert image == found(tmp_path, "aarch64")
    assert (image.arch, image.python, image.kernel_version, image.bytecode) == ("aarch64", "3.11", "6", True)
    assert Path(image.kernel).read_bytes() == b"kernel"
    verify_image(image)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"format": 1}'])
def test_a_description_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    (make_image(tmp_path) / "image.json").write_text(text)
    with pytest.raises(DataDamaged) as caught:
        find_image(str(tmp_path), "x86_64")
    assert "build-image" in caught.value.hint


@pytest.mark.parametrize("fields", [{"format": 2}, {"arch": "aarch64"}, {"files": {}}, {"id": None, "files": None}])
def test_a_description_of_something_else(tmp_path: Path, fields: dict[str, object]) -> None:
    change(make_image(tmp_path), **fields)
    with pytest.raises(DataDamaged):
        find_image(str(tmp_path), "x86_64")


@pytest.mark.parametrize("name", ["kernel", "rootfs.cpio"])
def test_a_cut_or_missing_file_is_noticed_at_once(tmp_path: Path, name: str) -> None:
    folder = make_image(tmp_path)
    (folder / name).write_bytes(b"k")
    with pytest.raises(DataDamaged, match="has 1 bytes"):
        find_image(str(tmp_path), "x86_64")
    (folder / name).unlink()
    with pytest.raises(DataDamaged, match="isn't whole"):
        find_image(str(tmp_path), "x86_64")


@pytest.mark.parametrize("name", ["kernel", "rootfs.cpio"])
def test_a_changed_byte_is_noticed_by_verification(tmp_path: Path, name: str) -> None:
    folder = make_image(tmp_path)
    (folder / name).write_bytes(name.upper().encode())
    with pytest.raises(DataDamaged, match="was changed"):
        verify_image(found(tmp_path))


def test_a_foreign_id_is_noticed_by_verification(tmp_path: Path) -> None:
    change(make_image(tmp_path), id="0" * 64)
    with pytest.raises(DataDamaged, match="isn't the one"):
        verify_image(found(tmp_path))
