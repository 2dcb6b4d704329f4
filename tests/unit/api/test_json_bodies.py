"""Bodies of JSON: what is read, and how the rest is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.api.json_bodies import check_content_type, parse_json
from guest_agent.wire.errors import InvalidArgument


@pytest.mark.parametrize("text", ["application/json", "Application/JSON; charset=utf-8", " application/json;x"])
def test_json_is_json(text: str) -> None:
    check_content_type(text, have_body=True)
    check_content_type(text, have_body=False)


def test_without_a_body_nothing_need_be_said() -> None:
    check_content_type("", have_body=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "malformed Content-Type header (): mime: no media type"),
        ("text/plain", "unsupported Content-Type header (text/plain): must be 'application/json'"),
        (
            "application/x-www-form-urlencoded",
            "unsupported Content-Type header (application/x-www-form-urlencoded): must be 'application/json'",
        ),
        ("<json>", "malformed Content-Type header (<json>): mime: expected slash in first token"),
    ],
)
def test_other_kinds_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_content_type(text, have_body=True)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "invalid JSON: unexpected EOF"),
        (b'{"a', "invalid JSON: unexpected EOF"),
        (b'{"a": 1', "invalid JSON: unexpected EOF"),
        (b"hello", "invalid JSON: invalid character 'h' looking for beginning of value"),
        (b"{a: 1}", "invalid JSON: invalid character 'a' looking for beginning of object key string"),
        (b'{"a" 1}', "invalid JSON: invalid character '1' after object key"),
        (b'{"a": 1 "b"}', "invalid JSON: invalid character '\"' after object key:value pair"),
        (b'{"a": "\n"}', "invalid JSON: invalid character '\\n' in string literal"),
        (b"{'a': 1}", "invalid JSON: invalid character '\\'' looking for beginning of object key string"),
        (b"NaN", "invalid JSON: invalid character 'N' looking for beginning of value"),
        (b"[-Infinity]", "invalid JSON: invalid character 'I' looking for beginning of value"),
        (b"{} {}", "unexpected content after JSON"),
    ],
)
def test_gos_words(data: bytes, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_json(data)
    assert caught.value.message == message


def test_what_is_no_utf8_is_replaced() -> None:
    assert parse_json(b'"a\xffb"') == "a\ufffdb"
    assert parse_json(b" \n") is None


@given(st.binary())
def test_any_bytes_are_json_or_an_invalid_argument(data: bytes) -> None:
    try:
        parse_json(data)
    except InvalidArgument as error:
        assert "\n" not in error.message


def test_depth_is_bounded() -> None:
    with pytest.raises(InvalidArgument):
        parse_json(b"[" * 200_000)
