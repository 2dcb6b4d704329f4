"""Variables and quotes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.build.expansion import ExpansionError, expand_word, expand_words

VALUES = {"a": "1", "empty": "", "path": "/usr/lib/x.tar.gz", "two": "x y"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$a", "1"),
        ("${a}b", "1b"),
        ("$unset", ""),
        ("\\$a", "$a"),
        ("'$a'", "$a"),
        ('"$a b"', "1 b"),
        ('"\\$a \\x"', "$a \\x"),
        ("a$", "a$"),
        ("$ a", "$ a"),
        ("${unset:-w}", "w"),
        ("${empty:-w}", "w"),
        ("${empty-w}", ""),
        ("${unset-w}", "w"),
        ("${a:+w}", "w"),
        ("${empty:+w}", ""),
        ("${empty+w}", "w"),
        ("${unset:-${a}x}", "1x"),
        ("${path#*/}", "usr/lib/x.tar.gz"),
        ("${path##*/}", "x.tar.gz"),
        ("${path%.*}", "/usr/lib/x.tar"),
        ("${path%%.*}", "/usr/lib/x"),
        ("${path/lib/bin}", "/usr/bin/x.tar.gz"),
        ("${path//r/R}", "/usR/lib/x.taR.gz"),
    ],
)
def test_words(text: str, expanded: str) -> None:
    assert expand_word(text, VALUES.get) == expanded


def test_quotes_of_a_heredoc_are_letters() -> None:
    values = {"x": "1"}.get
    assert expand_word("\"$x\" it's '$x'", values, quotes=False) == "\"1\" it's '1'"
    assert expand_word('a \\"$x\\" \\$x ${y:-"d"}', values, quotes=False) == 'a "1" $x "d"'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${a", "syntax error: missing '}'"),
        ("${", "bad substitution"),
        ("'a", "unexpected end of statement while looking for matching single-quote"),
        ('"a', "unexpected end of statement while looking for matching double-quote"),
        ("${unset:?gone}", "unset: gone"),
        ("${a^b}", "unsupported modifier (^) in substitution"),
    ],
)
def test_what_cant_be_expanded(text: str, message: str) -> None:
    with pytest.raises(ExpansionError) as caught:
        expand_word(text, VALUES.get)
    assert str(caught.value) == message


def test_values_split_only_where_several_words_are_wanted() -> None:
    assert expand_words("80 $two 'a b' $empty", VALUES.get) == ("80", "x", "y", "a b")
    assert expand_word("$two", VALUES.get) == "x y"


@given(st.text(max_size=60))
def test_any_text_is_a_word_or_an_error(text: str) -> None:
    """Whatever the text, expansion gives a string or ExpansionError; nothing else is raised."""
    try:
        expand_word(text, VALUES.get)
    except ExpansionError as error:
        assert "\n" not in str(error) or "\n" in text


@given(st.text(max_size=60))
def test_single_quotes_keep_everything(text: str) -> None:
    """What stands in single quotes is the word itself."""
    assert expand_word("'" + text.replace("'", "") + "'", VALUES.get) == text.replace("'", "")
