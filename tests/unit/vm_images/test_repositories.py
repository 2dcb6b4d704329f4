"""apt's settings, and which suites are taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest_agent.wire.errors import InvalidArgument, NotFound
from vm_images.debian.apt_settings import (
    AptSource,
    parse_apt_dump,
    parse_deb822_sources,
    parse_sources_list,
    read_apt_settings,
)
from vm_images.debian.repositories import DEFAULT_MIRROR, find_release, plan_repositories

DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""


def test_one_line_style() -> None:
    text = "deb [arch=amd64 signed-by=/k.gpg] http://a/debian/ bookworm main contrib # c\n"
    text += "deb-src http://a b c\n#deb x y z\n"
    assert parse_sources_list(text) == [AptSource("http://a/debian", "bookworm", ("main", "contrib"), "/k.gpg")]


def test_deb822_style() -> None:
    sources = parse_deb822_sources(DEB822)
    assert [(source.uri, source.suite) for source in sources] == [
        ("http://mirror.example/debian", "bookworm"),
        ("http://mirror.example/debian", "bookworm-updates"),
        ("http://mirror.example/security", "bookworm-security"),
    ]


def test_a_key_in_the_file_is_no_path() -> None:
    text = "Types: deb\nURIs: http://a\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN\n .\n xyz\n"
    assert parse_deb822_sources(text)[0].keyring == ""


def test_reading_a_machine(tmp_path: Path) -> None:
    folder = tmp_path / "etc/apt/sources.list.d"
    folder.mkdir(parents=True)
    (folder / "debian.sources").write_text(DEB822)
    assert len(read_apt_settings(str(tmp_path)).sources) == 3
    assert read_apt_settings(str(tmp_path / "none")).sources == ()


def test_apt_dump() -> None:
    assert parse_apt_dump('Acquire::http::Proxy "http://p:3128";\nA "";\n') == {
        "acquire::http::proxy": "http://p:3128",
        "a": "",
    }


def planned(sources: list[AptSource], codename: str = "bookworm", mirror: str = "") -> list[str]:
    return [repository.base for repository in plan_repositories(codename, sources, mirror)]


def test_the_machines_mirrors_are_taken() -> None:
    assert planned(parse_deb822_sources(DEB822)) == [
        "http://mirror.example/debian/dists/bookworm",
        "http://mirror.example/debian/dists/bookworm-updates",
        "http://mirror.example/security/dists/bookworm-security",
    ]


def test_another_release_comes_from_the_same_mirrors() -> None:
    assert planned(parse_deb822_sources(DEB822), "trixie")[2] == "http://mirror.example/security/dists/trixie-security"


@pytest.mark.parametrize(
    "source",
    [
        AptSource("http://vendor/debian", "bookworm", ("stable",)),
        AptSource("http://vendor/debian", "bookworm", ("main",), "/usr/share/keyrings/vendor.gpg"),
        AptSource("http://archive.example/ubuntu", "jammy", ("main",)),
        AptSource("cdrom:[x]", "bookworm", ("main",)),
    ],
)
def test_other_vendors_are_left_out(source: AptSource) -> None:
    assert planned([source])[0].startswith(DEFAULT_MIRROR)


def test_a_named_mirror_goes_before_apts() -> None:
    assert planned(parse_deb822_sources(DEB822), mirror="http://m/debian/") == [
        "http://m/debian/dists/bookworm",
        "http://m/debian/dists/bookworm-updates",
        "http://m/debian-security/dists/bookworm-security",
    ]
    with pytest.raises(InvalidArgument, match="not a mirror's address"):
        planned([], mirror="m/debian")


def test_unstable_is_one_suite() -> None:
    assert planned(parse_deb822_sources(DEB822), "sid") == ["http://mirror.example/debian/dists/sid"]
    assert planned([], "sid", "http://m/debian") == ["http://m/debian/dists/sid"]


def test_releases() -> None:
    assert find_release("12") == "bookworm"
    with pytest.raises(NotFound) as caught:
        find_release("bokworm")
    assert caught.value.hint == "did you mean debian:bookworm?"
    with pytest.raises(NotFound) as caught:
        find_release("")
    assert "debian:trixie" in caught.value.hint
