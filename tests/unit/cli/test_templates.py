"""Go templates beyond what is held against docker's: any text, and the laws of the lexer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostvm.cli.render.gotemplate import TemplateError
from hostvm.cli.render.gotemplate.evaluate import Template
from hostvm.cli.render.gotemplate.lex import split_actions
from hostvm.cli.render.omitted import complete
from hostvm.cli.render.units import bytes_size, ellipsis, human_duration, human_size

DATA: dict[str, object] = {"A": "x", "B": [1, 2], "C": {"k": "v"}, "N": None, "T": True}
ACTIONS = st.lists(
    st.sampled_from(
        [
            "{{",
            "}}",
            "{{-",
            "-}}",
            " ",
            ".A",
            ".B",
            ".C",
            ".",
            "$",
            "$x",
            ":=",
            "|",
            "(",
            ")",
            "if",
            "range",
            "end",
            "else",
        ]
        + [
            "with",
            "len",
            "json",
            "index",
            "printf",
            "print",
            '"%d"',
            "0",
            "1.5",
            "eq",
            "and",
            "not",
            "'c'",
            "`r`",
            ",",
            "=",
        ]
    ),
    max_size=14,
).map("".join)


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_actions_stays(text: str) -> None:
    assert Template(text).render(DATA) == text


@given(st.text() | ACTIONS)
def test_any_template_renders_or_is_refused(text: str) -> None:
    try:
        Template(text).render(DATA)
    except TemplateError:
        pass


@given(st.lists(st.text(st.characters(exclude_characters="{}-/*\"'`"), max_size=5), max_size=6))
def test_actions_and_text_alternate(parts: list[str]) -> None:
    template = "".join(part if number % 2 == 0 else "{{" + part + "}}" for number, part in enumerate(parts))
    assert [text for is_action, text in split_actions(template) if is_action] == parts[1::2]


@given(st.text(st.characters(codec="utf-8")))
def test_strings_survive_quoting(text: str) -> None:
    escaped = "".join(f"\\U{ord(letter):08x}" for letter in text)
    assert Template('{{"' + escaped + '"}}').render(None) == text


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('{{"}}"}}', "}}"),
        ("{{`{{`}}", "{{"),
        ("{{.A}}{{.Missing}}", "x<no value>"),
        ("{{$x := 1}}{{if .T}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{range $i, $e := .B}}{{if $i}},{{end}}{{$e}}{{else}}none{{end}}", "1,2"),
        ("{{range .N}}x{{else}}none{{end}}", "none"),
        ('{{if and .T (eq .A "x")}}yes{{end}}', "yes"),
        ('{{or .N "else"}}', "else"),
        ("{{len (index .B 0 | print)}}", "1"),
    ],
)
def test_what_scripts_write(template: str, expected: str) -> None:
    assert Template(template).render(DATA) == expected


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (1984123, "1.98MB"), (123456789, "123MB"), (1e12, "1TB")],
)
def test_human_size(size: float, text: str) -> None:
    assert human_size(size) == text


def test_bytes_size() -> None:
    assert bytes_size(2087550976) == "1.944GiB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (120, "2 minutes"),
        (3600, "About an hour"), (5400, "2 hours"), (47 * 3600, "47 hours"), (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"), (60 * 86400, "2 months"), (730 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_human_duration(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@given(st.text(), st.integers(1, 30))
def test_ellipsis_keeps_the_width(text: str, width: int) -> None:
    assert len(ellipsis(text, width)) <= width


def test_functions_of_gos_own() -> None:
    text = '{{js "it\'s <b>"}} {{urlquery "a b&c"}} {{range split "ab" ""}}[{{.}}]{{end}}'
    assert Template(text).render({}) == "it\\'s \\u003Cb\\u003E a+b%26c [a][b]"


def test_what_the_engine_leaves_out_is_zero() -> None:
    record = complete("container", {"State": {"Status": "running"}, "Config": {"Shell": ["sh"]}})
    template = Template("{{if .State.Health}}ill{{else}}none{{end}} {{.Config.ExposedPorts}} {{.Config.Shell}}", True)
    assert template.render(record) == "none map[] [sh]"
    template = Template("{{if .UsageData}}used{{else}}none{{end}}", True)
    assert template.render(complete("volume", {"Name": "x"})) == "none"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{json .State}}", '{"Status":"running"}'),
        ("{{json .Config}}", '{"Shell":["sh"]}'),
        ("{{json .}}", '{"ID":"c1","State":{"Status":"running"},"Config":{"Shell":["sh"]}}'),
        ("{{.State}}", "map[Status:running]"),
        ("{{range $name, $value := .Config}}{{$name}} {{end}}", "Shell "),
        ("{{.Id}} {{.ID}}", "c1 c1"),
    ],
)
def test_a_zero_is_given_to_who_names_it(template: str, expected: str) -> None:
    """Docker writes its structs with `omitempty`: the whole of one has no field that the engine left out."""
    record: dict[str, object] = {"ID": "c1", "State": {"Status": "running"}, "Config": {"Shell": ["sh"]}}
    assert Template(template, True).render(complete("container", record)) == expected


def test_a_field_that_no_version_has_is_an_error() -> None:
    with pytest.raises(TemplateError, match='map has no entry for key "Nothing"'):
        Template("{{.State.Nothing}}", True).render(complete("container", {"State": {"Status": "running"}}))
