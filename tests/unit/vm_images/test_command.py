"""`hostvm bootstrap`: words to plans, and what doesn't make sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest_agent.wire.errors import HostvmError, InvalidArgument
from hostvm.cli.bootstrap import demultiplex, parse_settings, plan_image, render_list
from hostvm.machines.mirror import read_mirror
from vm_images.archive_file import Settings

NONE = Settings()


def test_base_images() -> None:
    assert plan_image("busybox", "", [], NONE).reference == "busybox:latest"
    plan = plan_image("debian:12", "", [], NONE)
    assert (plan.release, plan.reference, plan.recipe) == ("bookworm", "debian:12", None)


def test_slim_variants() -> None:
    plan = plan_image("debian:13-slim", "", [], NONE)
    assert (plan.release, plan.reference, plan.slim) == ("trixie", "debian:13-slim", True)
    plan = plan_image("debian:trixie-slim", "web", ["nginx"], NONE)
    assert plan.recipe is not None
    assert (plan.base, plan.recipe.release, plan.recipe.slim) == ("debian:trixie-slim", "trixie", True)


def test_packages_over_a_base() -> None:
    settings = parse_settings("nginx -g 'daemon off;'", "", ["A=b"], ["80", "53/udp"], ["/data"])
    plan = plan_image("debian:bookworm", "web", ["nginx"], settings)
    assert plan.recipe is not None
    assert (plan.base, plan.reference, plan.recipe.packages) == ("debian:bookworm", "web:latest", ("nginx",))
    assert plan.recipe.settings.command == ("nginx", "-g", "daemon off;")
    assert plan.recipe.settings.exposed == ("80/tcp", "53/udp")


def test_a_recipe_takes_more() -> None:
    plan = plan_image("mariadb", "db:1", ["less"], parse_settings("", "", ["A=b"], [], []))
    assert plan.recipe is not None
    assert plan.recipe.packages == ("mariadb-server", "less")
    assert plan.recipe.settings.entrypoint == ("docker-entrypoint.sh",)
    assert plan.recipe.settings.environment == ("A=b",)


@pytest.mark.parametrize(
    ("image", "tag", "packages", "message"),
    [
        ("", "", [], "no image is named"),
        ("bussybox", "", [], "no such image to make: bussybox"),
        ("busybox:1.36", "", [], "no such image to make: busybox:1.36"),
        ("debian", "", [], "no such Debian release: (none)"),
        ("debian:potato", "", [], "no such Debian release: potato"),
        ("debian:bookworm", "", ["x"], "an image with more than its base needs a name"),
        ("debian:bookworm", "debian:bookworm", ["x"], "debian:bookworm is the name of the base image"),
        ("busybox", "", ["x"], "busybox takes no packages and settings"),
        ("debian:bookworm", "Web", [], "invalid reference format: 'Web'"),
    ],
)
def test_what_makes_no_sense(image: str, tag: str, packages: list[str], message: str) -> None:
    with pytest.raises(HostvmError) as caught:
        plan_image(image, tag, packages, NONE)
    assert caught.value.message == message
    assert caught.value.hint


@pytest.mark.parametrize(
    "words", [("'", "", [], [], []), ("", "", ["A"], [], []), ("", "", [], ["0"], []), ("", "", [], [], ["data"])]
)
def test_malformed_settings(words: tuple[str, str, list[str], list[str], list[str]]) -> None:
    with pytest.raises(InvalidArgument):
        parse_settings(*words)


def test_the_mirror_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    assert read_mirror(str(path)) == ""
    path.write_text('[bootstrap]\ndebian_mirror = "http://m/debian"\n')
    assert read_mirror(str(path)) == "http://m/debian"
    for text in ("[bootstrap]\ndebian_mirror = 1\n", "[boot"):
        path.write_text(text)
        with pytest.raises(InvalidArgument):
            read_mirror(str(path))


def test_demultiplex_by_any_chunks() -> None:
    data = b"\x01\0\0\0\0\0\0\x03abc\x02\0\0\0\0\0\0\x01d"
    assert list(demultiplex(bytes([byte]) for byte in data)) == [b"abc", b"d"]
    assert list(demultiplex(iter([data]))) == [b"abc", b"d"]


def test_list() -> None:
    lines = render_list().splitlines()
    assert lines[0].split() == ["IMAGE", "CONTENTS"]
    assert {line.split()[0] for line in lines} >= {"busybox", "debian:bookworm", "mariadb"}
