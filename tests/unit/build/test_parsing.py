"""The Dockerfile's language: lines, heredocs, instructions, and dockerd's words for what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.build.instructions import Arg, Check, Command, Copy, Env, Instruction, MountKind, OnBuild, Run, Words
from guest_agent.build.parsing import parse_dockerfile
from guest_agent.build.reading import find_last_line, find_syntax, read_lines
from guest_agent.wire.errors import InvalidArgument


def instructions(text: str) -> tuple[Instruction, ...]:
    return parse_dockerfile(f"FROM scratch\n{text}".encode()).stages[0].instructions


def one(text: str) -> Instruction:
    (instruction,) = instructions(text)
    return instruction


def failure(text: str) -> str:
    with pytest.raises(InvalidArgument) as caught:
        parse_dockerfile(text.encode())
    return caught.value.message


def test_continued_lines_drop_comments_and_empty_lines() -> None:
    lines, escape = read_lines(b"FROM a\nRUN x \\\n  # why\n\n  y\r\nRUN z\\\n")
    assert [(line.number, line.keyword, line.text) for line in lines] == [
        (1, "FROM", "a"),
        (2, "RUN", "x   y"),
        (6, "RUN", "z"),
    ]
    assert escape == "\\"


def test_directives() -> None:
    lines, escape = read_lines(b"# syntax=docker/dockerfile:1\n# escape=`\n# check=skip=all\nRUN a `\n b\\\nRUN c")
    assert escape == "`"
    assert [line.text for line in lines] == ["a  b\\", "c"]
    assert (
        failure("# escape=x\nFROM a")
        == "dockerfile parse error on line 1: invalid escape token 'x' does not match ` or \\"
    )
    assert read_lines(b"# a comment\n# escape=`\nRUN a\\\n b")[1] == "\\"


@pytest.mark.parametrize(
    ("dockerfile", "syntax"),
    [
        (b"\xef\xbb\xbf# syntax=docker/dockerfile:1\r\nFROM x", "docker/dockerfile:1"),
        (b"# escape=`\n#SYNTAX = other/one more words\nFROM x", "other/one"),
        (b"FROM x\n# syntax=late/one", ""),
        (b"# a comment\n# syntax=late/one", ""),
        (b"# unknown=1\n# syntax=late/one", ""),
        (b"", ""),
    ],
)
def test_the_front_end_of_a_dockerfile(dockerfile: bytes, syntax: str) -> None:
    assert find_syntax(dockerfile) == syntax


@pytest.mark.parametrize(
    ("dockerfile", "first", "last"),
    [
        (b"FROM a\nRUN one \\\n# between\n  two\nRUN three\\\n", 2, 4),
        (b"FROM a\nRUN one\nRUN two", 2, 2),
        (b"# escape=`\nFROM a\nRUN one`\n two\nRUN c:\\\nRUN b", 3, 4),
        (b"# escape=`\nFROM a\nRUN c:\\\nRUN b", 3, 3),
        (b"FROM a\nRUN <<END\none\nEND\nRUN b", 2, 4),
        (b"FROM a\nRUN <<END\none", 2, 2),
        (b"FROM a", 7, 7),
    ],
)
def test_where_an_instruction_ends(dockerfile: bytes, first: int, last: int) -> None:
    assert find_last_line(dockerfile, first) == last


def test_pairs() -> None:
    assert one('ENV a=b c="d e" f=g\\ h') == Env(
        one('ENV a=b c="d e" f=g\\ h').line, (("a", "b"), ("c", '"d e"'), ("f", "g\\ h"))
    )
    old = one("ENV a b  c=d")
    assert isinstance(old, Env) and old.pairs == (("a", "b  c=d"),)
    argument = one("ARG a b=1")
    assert isinstance(argument, Arg) and argument.pairs == (("a", None), ("b", "1"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('CMD ["a", "b c"]', Words(("a", "b c"), shell=False)),
        ("CMD a b", Words(("a b",), shell=True)),
        ("CMD ['a']", Words(("['a']",), shell=True)),
        ("CMD []", Words((), shell=False)),
    ],
)
def test_two_forms_of_a_command(text: str, words: Words) -> None:
    command = one(text)
    assert isinstance(command, Command) and command.words == words


def test_heredocs() -> None:
    copy = one('COPY --chmod=644 <<EOF <<-"RAW" local /dst/\nhello $a\nEOF\n\traw $a\n\tRAW\n')
    assert isinstance(copy, Copy)
    assert copy.sources == ("local",) and copy.target == "/dst/" and copy.mode == "644"
    assert [(file.name, file.text, file.expands) for file in copy.heredocs] == [
        ("EOF", "hello $a\n", True),
        ("RAW", "raw $a\n", False),
    ]
    run = one("RUN cat <<'A' > x\n1\nA\n")
    assert isinstance(run, Run) and run.line.heredocs[0].content == "1\n"


@pytest.mark.parametrize("text", ['RUN echo "a <<b"', "RUN cat <<<b", "RUN echo $((1<<2))", "RUN ["])
def test_what_is_no_heredoc(text: str) -> None:
    assert one(text).line.heredocs == ()


def test_flags_of_run() -> None:
    run = one("RUN --network=none --mount=type=cache,target=/c,id=x,sharing=locked --mount=type=secret,id=s,required x")
    assert isinstance(run, Run)
    cache, secret = run.mounts
    assert (run.network, cache.kind, cache.sharing, secret.required) == ("none", MountKind.CACHE, "locked", True)
    assert run.words.words == ("x",)
    limited = one("RUN --mount=type=tmpfs,target=/t,size=1.5mb x")
    assert isinstance(limited, Run) and limited.mounts[0].size == 3 << 19


def test_healthcheck() -> None:
    check = one("HEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD curl x")
    assert isinstance(check, Check)
    assert check.check.test == ("CMD-SHELL", "curl x")
    assert (check.check.interval, check.check.timeout, check.check.retries) == (90 * 10**9, 5 * 10**8, 3)
    early = one("HEALTHCHECK --start-period=9s --start-interval=2s CMD\tcurl  x")
    assert isinstance(early, Check) and early.check.test == ("CMD-SHELL", "curl  x")
    assert (early.check.start_period, early.check.start_interval) == (9 * 10**9, 2 * 10**9)
    none = one("HEALTHCHECK NONE")
    assert isinstance(none, Check) and none.check.test == ("NONE",)


def test_a_trigger_keeps_its_words() -> None:
    trigger = one("ONBUILD COPY --chown=1 . /app")
    assert isinstance(trigger, OnBuild) and trigger.trigger == "COPY --chown=1 . /app"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the Dockerfile (Dockerfile) cannot be empty"),
        ("# nothing", "file with no instructions"),
        ("ARG a", "no build stage in current context"),
        ("RUN x\nFROM a", "dockerfile parse error on line 1: no build stage in current context"),
        ("FROM a\nFOO x", "dockerfile parse error on line 2: unknown instruction: FOO (did you mean FROM?)"),
        ("FROM a\nNOINSTRUCTION", "dockerfile parse error on line 2: unknown instruction: NOINSTRUCTION"),
        ("FROM a\nCOPY --form=b c d", "dockerfile parse error on line 2: unknown flag: form (did you mean from?)"),
        ("FROM a b", "dockerfile parse error on line 1: FROM requires either one or three arguments"),
        ("FROM", "dockerfile parse error on line 1: FROM requires either one or three arguments"),
        (
            "FROM a AS 1x",
            'dockerfile parse error on line 1: invalid name for build stage: "1x", '
            "name can't start with a number or contain symbols",
        ),
        ("FROM a\nENV x", "dockerfile parse error on line 2: ENV must have two arguments"),
        ("FROM a\nENV", "dockerfile parse error on line 2: ENV requires at least one argument"),
        (
            "FROM a\nENV a=b c",
            'dockerfile parse error on line 2: Syntax error - can\'t find = in "c". Must be of the form: name=value',
        ),
        ("FROM a\nENV =b", "dockerfile parse error on line 2: ENV names can not be blank"),
        (
            "FROM a\nCOPY x",
            "dockerfile parse error on line 2: COPY requires at least two arguments, but only one was provided. "
            "Destination could not be determined",
        ),
        ("FROM a\nRUN --foo x", "dockerfile parse error on line 2: unknown flag: foo"),
        (
            "FROM a\nRUN --security=insecure x",
            "dockerfile parse error on line 2: security mode insecure is not allowed",
        ),
        (
            "FROM a\nRUN --mount=type=tmpfs,target=/t,size=x y",
            "dockerfile parse error on line 2: invalid value for size: x",
        ),
        ("FROM a\nRUN --mount=type=cache x", "dockerfile parse error on line 2: cache mount type requires target"),
        ("FROM a\nSHELL x", "dockerfile parse error on line 2: SHELL requires the arguments to be in JSON form"),
        ("FROM a\nHEALTHCHECK FOO x", 'dockerfile parse error on line 2: Unknown type "FOO" in HEALTHCHECK (try CMD)'),
        ("FROM a\nONBUILD FROM x", "dockerfile parse error on line 2: FROM isn't allowed as an ONBUILD trigger"),
        ("FROM a\nRUN <<EOF\nx", "dockerfile parse error on line 2: unterminated heredoc"),
        ("FROM a\nUSER a b", "dockerfile parse error on line 2: USER requires exactly one argument"),
        (
            'FROM a\nCMD ["a", 1]',
            "dockerfile parse error on line 2: when using JSON array syntax, arrays must be comprised of strings only",
        ),
    ],
)
def test_what_is_wrong_is_one_line(text: str, message: str) -> None:
    assert failure(text) == message


FRAGMENTS = st.sampled_from(
    ["FROM a", "FROM a AS b", "RUN x", "COPY a b", "ADD", "ENV a=b", "ARG", "\\", "<<E", "E", '["a"]', "--from=x", "#",
     "# escape=`", "`", "ONBUILD", "HEALTHCHECK CMD x", "$", "${", "'", '"', "=", " ", "\t", "\n", "\r\n", "\0", "é"]
)  # fmt: skip


@given(st.one_of(st.binary(max_size=200), st.lists(FRAGMENTS, max_size=30).map(lambda parts: "".join(parts).encode())))
def test_any_bytes_are_a_dockerfile_or_an_error_of_one_line(data: bytes) -> None:
    """Whatever the bytes, parsing ends in stages or in InvalidArgument with one line; nothing else is raised."""
    try:
        parsed = parse_dockerfile(data)
    except InvalidArgument as error:
        assert error.message and "\n" not in error.message.strip()
    else:
        assert parsed.stages


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\\`#<\r\n\t "), min_size=1), min_size=1))
def test_a_line_may_be_continued_anywhere_between_words(words: list[str]) -> None:
    """A RUN's text is the same, but for the number of spaces, however its words are spread over continued lines."""
    continued = " \\\n ".join(words)
    (_, spread), _ = read_lines(f"FROM a\nRUN {continued}".encode())
    assert spread.text.split() == " ".join(words).split()


def test_an_empty_line_where_one_goes_on_is_remembered() -> None:
    text = "ARG x\nFROM a\nRUN b \\\n\n  c\nRUN d \\\n# no gap\n  e\n\nRUN f\n"
    assert [line.source for line in parse_dockerfile(text.encode()).lines() if line.gaps] == ["RUN b   c"]
