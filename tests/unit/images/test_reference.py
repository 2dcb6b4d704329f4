"""Names in docker's rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.images.reference import parse_reference
from guest_agent.wire.errors import InvalidArgument

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox", "busybox"),
        ("me/app:x", "docker.io/me/app:x", "me/app:x"),
        ("docker.io/my.org/app", "docker.io/my.org/app", "docker.io/my.org/app"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/a/b:1", "localhost:5000/a/b:1", "localhost:5000/a/b:1"),
        ("[::1]:5000/a", "[::1]:5000/a", "[::1]:5000/a"),
        ("ghcr.io/a/b__c/d-e@" + DIGEST, "ghcr.io/a/b__c/d-e@" + DIGEST, "ghcr.io/a/b__c/d-e@" + DIGEST),
        ("a:t@" + DIGEST, "docker.io/library/a:t@" + DIGEST, "a:t@" + DIGEST),
    ],
)
def test_forms(text: str, canonical: str, familiar: str) -> None:
    reference = parse_reference(text)
    assert (reference.canonical, reference.familiar) == (canonical, familiar)
    assert parse_reference(canonical) == reference


@pytest.mark.parametrize(
    "text", ["", "a b", "a:", "a@sha256:12", "-a", "a//b", "a:b:c", "/a", "a/", "A", "a" * 256, "é", "a\n"]
)
def test_malformed(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        parse_reference(text)


def test_an_id_is_no_name() -> None:
    with pytest.raises(InvalidArgument, match="cannot specify 64-byte hexadecimal strings"):
        parse_reference("ab" * 32)


def test_default_tag() -> None:
    assert parse_reference("a").with_default_tag().familiar == "a:latest"
    assert parse_reference("a@" + DIGEST).with_default_tag().tag == ""


@given(st.text(max_size=60))
def test_whatever_parses_is_stable(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidArgument:
        return
    assert parse_reference(reference.canonical) == reference
    assert parse_reference(reference.familiar) == reference
