"""docker's rules for what the user said and what the image says; and the changes of `commit`."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from guest_agent.engine.creation import merge_config, plan_port_bindings
from guest_agent.engine.instructions import apply_changes
from guest_agent.runtime.environment import replace_or_append
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerConfig, ContainerPort, Healthcheck, HostConfig, PortBinding, Protocol

Words = tuple[str, ...] | None
IMAGE = ContainerConfig(entrypoint=("entry",), command=("default",))


@pytest.mark.parametrize(
    ("entrypoint", "command", "merged"),
    [
        (None, None, (("entry",), ("default",))),
        (None, (), (("entry",), ("default",))),
        (None, ("mine",), (("entry",), ("mine",))),
        (("other",), None, (("other",), None)),
        (("other",), ("mine",), (("other",), ("mine",))),
        (("",), ("mine",), (None, ("mine",))),
        ((), None, ((), ("default",))),
    ],
)
def test_entrypoint_and_command(entrypoint: Words, command: Words, merged: tuple[Words, Words]) -> None:
    found = merge_config(ContainerConfig(entrypoint=entrypoint, command=command), IMAGE)
    assert (found.entrypoint, found.command) == merged


@pytest.mark.parametrize("wanted", [ContainerConfig(), ContainerConfig(entrypoint=("",))])
def test_nothing_to_run(wanted: ContainerConfig) -> None:
    with pytest.raises(InvalidArgument, match="no command specified"):
        merge_config(wanted, replace(IMAGE, entrypoint=None, command=None))


def test_the_users_word_wins_and_the_image_completes() -> None:
    image = ContainerConfig(
        command=("c",), user="u", working_dir="/w", labels={"a": "i", "b": "i"}, stop_timeout=5, volumes=("/v",)
    )
    merged = merge_config(ContainerConfig(user="me", labels={"a": "m"}, stop_timeout=0, volumes=("/w", "/v")), image)
    assert (merged.user, merged.working_dir, merged.stop_timeout) == ("me", "/w", 0)
    assert (merged.labels, merged.volumes) == ({"a": "m", "b": "i"}, ("/v", "/w"))


def test_the_users_variables_come_first() -> None:
    merged = merge_config(ContainerConfig(environment=("C=3", "A")), replace(IMAGE, environment=("A=1", "B=2")))
    assert merged.environment == ("C=3", "A", "B=2")


def test_a_variable_keeps_its_place() -> None:
    assert replace_or_append(["A=1", "B=2"], ["C=3", "A=x=y"]) == ("A=x=y", "B=2", "C=3")


def test_all_exposed_ports() -> None:
    web, dns = ContainerPort(80), ContainerPort(53, Protocol.UDP)
    named = PortBinding(web, host_port=8080)
    config = ContainerConfig(exposed_ports=(web, dns))
    assert plan_port_bindings(config, HostConfig(port_bindings=(named,))) == (named,)
    assert plan_port_bindings(config, HostConfig(port_bindings=(named,), publish_all_ports=True)) == (
        named,
        PortBinding(dns),
    )


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ('CMD ["a", "b"]', {"command": ("a", "b")}),
        ("cmd echo hi", {"command": ("/bin/sh", "-c", "echo hi")}),
        ("ENV A=1 B='x y'", {"environment": ("A=1", "B=x y")}),
        ("ENV A some words", {"environment": ("A=some words",)}),
        ("EXPOSE 80 53/udp", {"exposed_ports": (ContainerPort(80), ContainerPort(53, Protocol.UDP))}),
        ("LABEL a=b", {"labels": {"a": "b"}}),
        ('VOLUME ["/a", "/b"]', {"volumes": ("/a", "/b")}),
        ("VOLUME /a /b", {"volumes": ("/a", "/b")}),
        ("USER me", {"user": "me"}),
        ("HEALTHCHECK NONE", {"healthcheck": Healthcheck(("NONE",))}),
        (
            "HEALTHCHECK --interval=1m30s --retries=2 CMD curl x",
            {"healthcheck": Healthcheck(("CMD-SHELL", "curl x"), interval=90 * 10**9, retries=2)},
        ),
        (
            "HEALTHCHECK --start-period=2s --start-interval=500ms CMD true",
            {"healthcheck": Healthcheck(("CMD-SHELL", "true"), start_period=2 * 10**9, start_interval=5 * 10**8)},
        ),
        ('healthcheck cmd ["a"]', {"healthcheck": Healthcheck(("CMD", "a"))}),
        ("EXPOSE 8000-8002", {"exposed_ports": tuple(ContainerPort(number) for number in (8000, 8001, 8002))}),
        (
            "ENV A=1 \\\n  B=2\n# a comment\nWORKDIR a\nWORKDIR b",
            {"environment": ("A=1", "B=2"), "working_dir": "/a/b"},
        ),
        ("ONBUILD RUN x", {"on_build": ("RUN x",)}),
        ("ONBUILD /bin/build --dir /src", {"on_build": ("/bin/build --dir /src",)}),
        ("STOPSIGNAL SIGINT", {"stop_signal": "SIGINT"}),
        ("WORKDIR /w", {"working_dir": "/w"}),
    ],
)
def test_changes(line: str, changed: dict[str, object]) -> None:
    before = ContainerConfig()
    assert apply_changes(before, [line]) == replace(before, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("RUN x", "run is not a valid change command"),
        ("EXPOSE x", "invalid containerPort: x"),
        ("EXPOSE 80/foo", "invalid proto: foo"),
        ("ENV A='", "unexpected end of statement while looking for matching single-quote"),
        ("ENV", "ENV requires at least one argument"),
        ("ENV A", "ENV must have two arguments"),
        ("ENV A=1 B", 'Syntax error - can\'t find = in "B". Must be of the form: name=value'),
        ("USER", "USER requires exactly one argument"),
        ("VOLUME '/a", "unexpected end of statement while looking for matching single-quote"),
        ("HEALTHCHECK RUN x", 'Unknown type "RUN" in HEALTHCHECK (try CMD)'),
        ("HEALTHCHECK --every=1s CMD x", "unknown flag: every"),
        ("HEALTHCHECK --interval=1 CMD x", 'time: invalid duration "1"'),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("STOPSIGNAL FOO", "Invalid signal: FOO"),
    ],
)
def test_changes_that_are_none(line: str, complaint: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(complaint)):
        apply_changes(ContainerConfig(), [line])
