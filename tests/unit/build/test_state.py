"""Instructions that change the configuration only, and what the history says of them."""

from __future__ import annotations

import re

import pytest

from guest_agent.build.instructions import Run
from guest_agent.build.parsing import parse_dockerfile
from guest_agent.build.state import StageState, absolute, apply, describe_run, identify_run, plan_run_words
from guest_agent.build.variables import Arguments
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerConfig, ContainerPort, Protocol

START = StageState(
    ContainerConfig(environment=("PATH=/bin",)), Arguments({"given": "g", "HTTP_PROXY": "p"}, {"outer": "o"})
)


def after(text: str, state: StageState = START) -> tuple[StageState, str]:
    comment = ""
    for instruction in parse_dockerfile(f"FROM scratch\n{text}".encode()).stages[0].instructions:
        state, comment = apply(state, instruction)
    return state, comment


def run(text: str, before: str = "") -> tuple[tuple[str, ...], str]:
    *_, last = parse_dockerfile(f"FROM scratch\n{text}".encode()).stages[0].instructions
    assert isinstance(last, Run)
    state, _ = after(before)
    words = plan_run_words(state, last)
    return words, " ".join(describe_run(state, words))


def identity(text: str, before: str) -> str:
    *_, last = parse_dockerfile(f"FROM scratch\n{text}".encode()).stages[0].instructions
    assert isinstance(last, Run)
    return identify_run(after(before)[0], last, "")


def test_a_line_of_env_sees_what_was_before_it() -> None:
    state, comment = after('ENV a=1\nENV a=2 b=$a c="$a x"')
    assert state.config.environment == ("PATH=/bin", "a=2", "b=1", "c=1 x")
    assert comment == "ENV a=2 b=1 c=1 x"
    assert " ".join(state.nothing(comment)) == "/bin/sh -c #(nop)  ENV a=2 b=1 c=1 x"
    assert state.filled("COPY a in / ") == ("/bin/sh", "-c", "#(nop) COPY a in / ")


def test_a_check_is_written_as_go_prints_it() -> None:
    for retries, shown in ((0, r"\x00"), (3, r"\x03"), (10, r"\n"), (65, "A"), (200, r"\u00c8")):
        _, comment = after(f"HEALTHCHECK --interval=90s --start-period=5ms --retries={retries} CMD a")
        assert comment == f"""HEALTHCHECK &{{["CMD-SHELL" "a"] "1m30s" "0s" "5ms" "0s" '{shown}'}}"""


def test_arguments() -> None:
    state, _ = after("ARG given=default\nARG outer\nARG unset\nARG own=1$given")
    assert [state.find(name) for name in ("given", "outer", "unset", "own")] == ["g", "o", None, "1g"]
    assert after("ARG x=1\nENV x=2")[0].find("x") == "2"


def test_entrypoint_clears_only_an_inherited_command() -> None:
    inherited = StageState(ContainerConfig(command=("old",)), Arguments({}, {}))
    assert after('ENTRYPOINT ["e"]', inherited)[0].config.command is None
    state, comment = after('CMD ["c", "d"]\nENTRYPOINT e f', inherited)
    assert state.config.command == ("c", "d") and state.config.entrypoint == ("/bin/sh", "-c", "e f")
    assert comment == 'ENTRYPOINT ["/bin/sh" "-c" "e f"]'


def test_ports_volumes_labels() -> None:
    state, _ = after('EXPOSE 80 53/udp 8000-8001\nVOLUME /a /b\nVOLUME ["/a b"]\nLABEL x=1 "y z"="2"')
    assert state.config.exposed_ports == (
        ContainerPort(80), ContainerPort(53, Protocol.UDP), ContainerPort(8000), ContainerPort(8001),
    )  # fmt: skip
    assert state.config.volumes == ("/a", "/b", "/a b")
    assert state.config.labels == {"x": "1", "y z": "2"}
    with pytest.raises(InvalidArgument, match="line 2: invalid containerPort: 80x"):
        after("EXPOSE 80x")


@pytest.mark.parametrize(
    ("working_dir", "path", "result"),
    [
        ("", "a", "/a"),
        ("/w", "a/", "/w/a/"),
        ("/w", ".", "/w/"),
        ("/w", "..", "/"),
        ("", "/", "/"),
        ("/w", "/x/../y", "/y"),
    ],
)
def test_destinations(working_dir: str, path: str, result: str) -> None:
    assert absolute(working_dir, path) == result


def test_stop_signals() -> None:
    assert after("STOPSIGNAL SIGRTMIN+3")[0].config.stop_signal == "SIGRTMIN+3"
    for wrong in ("foo", "0", "SIGTERM+1"):
        with pytest.raises(InvalidArgument, match=f"Invalid signal: {re.escape(wrong)}$"):
            after(f"STOPSIGNAL {wrong}")


def test_working_dir() -> None:
    assert after("ARG given\nWORKDIR /a/\nWORKDIR $given")[0].config.working_dir == "/a/g"


def test_run_words() -> None:
    assert run("RUN a b") == (("/bin/sh", "-c", "a b"), "/bin/sh -c a b")
    assert run('RUN ["a", "b"]')[0] == ("a", "b")
    assert run("RUN <<EOF\na\nb\nEOF")[0] == ("/bin/sh", "-c", "a\nb\n")
    assert run("RUN cat <<EOF > x\n$y\nEOF")[0] == ("/bin/sh", "-c", "cat <<EOF > x\n$y\n\nEOF".replace("\n\n", "\n"))
    assert run("RUN x", 'SHELL ["bash", "-ec"]')[0] == ("bash", "-ec", "x")


def test_a_run_is_known_by_its_words_and_not_by_the_text_of_them() -> None:
    texts = [('RUN ["a", "b c"]', ""), ('RUN ["a b", "c"]', ""), ('RUN ["a", "b", "c"]', "")]
    texts += [("RUN x", "ARG a=1\nARG b=2"), ("RUN x", "ARG a=1\\ b=2\nARG b=2"), ("RUN x", "ARG a=1\nARG b=3")]
    assert len({identity(text, before) for text, before in texts}) == len(texts)


def test_the_history_of_a_run_names_its_arguments_and_no_proxy() -> None:
    assert run("RUN x", "ARG given\nARG b=2")[1] == "|2 b=2 given=g /bin/sh -c x"
    assert run("RUN x")[1] == "/bin/sh -c x"
    assert run("RUN x", "ARG HTTP_PROXY")[1] == "|1 HTTP_PROXY=p /bin/sh -c x"
    assert run("RUN x", "ARG http_proxy=default")[1] == "|1 http_proxy=default /bin/sh -c x"
    assert START.arguments.proxies() == {"HTTP_PROXY": "p"}
