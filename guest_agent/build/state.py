"""What a stage knows between two instructions, and how those that need no container change it. Pure.

Each change has a comment: what the classic builder writes into the image's history. The comment is also what the cache
knows the step by, so it has everything that the result follows from.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from guest_agent.build.expansion import ExpansionError, expand_word, expand_words
from guest_agent.build.instructions import (
    Arg,
    Check,
    Command,
    Entrypoint,
    Env,
    Expose,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volumes,
    Words,
    WorkingDir,
)
from guest_agent.build.reading import Heredoc, Line
from guest_agent.build.variables import Arguments, environment_of
from guest_agent.linux.signals import parse_signal
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerConfig, ContainerPort, Protocol
from guest_agent.wire.times import go_duration

#: The place for a RUN's heredoc that is a program. (BuildKit's is in /dev, where crun makes no mount points.)
PROGRAMS = "/run/pipes"
_GO_ESCAPES = {7: r"\a", 8: r"\b", 9: r"\t", 10: r"\n", 11: r"\v", 12: r"\f", 13: r"\r", 39: r"\'", 92: r"\\"}
DEFAULT_SHELL = ("/bin/sh", "-c")
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/([A-Za-z]+))?")


@dataclass(frozen=True, slots=True)
class StageState:
    """`command_set` says that this stage had a CMD: an ENTRYPOINT clears an inherited one only."""

    config: ContainerConfig
    arguments: Arguments
    escape: str = "\\"
    author: str = ""
    command_set: bool = False

    def find(self, name: str) -> str | None:
        """A variable's value: ENV beats ARG."""
        return environment_of(self.config.environment).get(name, self.arguments.find(name))

    def expand(self, line: Line, text: str, quotes: bool = True) -> str:
        """`quotes`: they have a meaning, and are removed. Raises DockerfileError."""
        try:
            return expand_word(text, self.find, self.escape, quotes)
        except ExpansionError as error:
            raise line.fail(f'failed to process "{text}": {error}') from error

    def expand_list(self, line: Line, texts: Iterable[str]) -> tuple[str, ...]:
        """Each may become several words, or none."""
        try:
            return tuple(word for text in texts for word in expand_words(text, self.find, self.escape))
        except ExpansionError as error:
            raise line.fail(f'failed to process "{" ".join(texts)}": {error}') from error

    @property
    def shell(self) -> tuple[str, ...]:
        return self.config.shell or DEFAULT_SHELL

    def nothing(self, comment: str) -> tuple[str, ...]:
        """What the history says was run by an instruction that ran nothing."""
        return (*self.shell, "#(nop) ", comment)

    def filled(self, comment: str) -> tuple[str, ...]:
        """The same of COPY, ADD and WORKDIR, which the classic builder has in one word."""
        return (*self.shell, f"#(nop) {comment}")


def apply(state: StageState, instruction: Instruction) -> tuple[StageState, str]:
    """The next state, and the comment. Not for RUN, COPY and ADD. Raises DockerfileError."""
    change: Callable[[StageState, Instruction], tuple[StageState, str]] = _CHANGES[type(instruction)]
    return change(state, instruction)


def plan_run_words(state: StageState, run: Run) -> tuple[str, ...]:
    """The argv of a RUN. A heredoc alone is the shell's script; others stay for the shell to read."""
    words = run.words
    if not words.shell:
        return words.words
    text = words.words[0] if words.words else ""
    heredocs = run.line.heredocs
    if is_script(run):
        program = heredocs[0].text.startswith("#!")
        return (f"{PROGRAMS}/{heredocs[0].name}",) if program else (*state.shell, heredocs[0].text)
    for heredoc in heredocs:
        text += f"\n{heredoc.content}{heredoc.name}"
    return (*state.shell, text)


def is_script(run: Run) -> bool:
    """Its whole command is one heredoc."""
    words = run.words.words[0] if run.words.shell and run.words.words else ""
    return len(run.line.heredocs) == 1 and bool(re.fullmatch(r"<<-?[\"']?[^\s\"']+[\"']?", words))


def find_program(run: Run) -> Heredoc | None:
    """The heredoc that is a program of its own, since it begins with `#!`; it is mounted where the argv says."""
    return run.line.heredocs[0] if is_script(run) and run.line.heredocs[0].text.startswith("#!") else None


def describe_run(state: StageState, argv: tuple[str, ...]) -> tuple[str, ...]:
    """What the history says: the arguments in effect in front, as the classic builder has it."""
    values = state.arguments.for_run(environment_of(state.config.environment))
    if not values:
        return argv
    return (f"|{len(values)}", *(f"{name}={value}" for name, value in values.items()), *argv)


def identify_run(state: StageState, run: Run, mounts: str) -> str:
    """What the cache knows a RUN by: all that it follows from, exactly. The history's text only joins words."""
    config, program = state.config, find_program(run)
    around = (config.environment, config.user, config.working_dir)
    arguments = state.arguments.for_run(environment_of(config.environment))
    words = plan_run_words(state, run)
    return repr(("RUN", words, arguments, mounts, run.network, around, program and program.text))


# -- changes


def _with(state: StageState, **fields: object) -> StageState:
    make: Callable[..., ContainerConfig] = replace
    return replace(state, config=make(state.config, **fields))


def _env(state: StageState, instruction: Env) -> tuple[StageState, str]:
    """All of one line see what was before the line."""
    line = instruction.line
    pairs = [(state.expand(line, name), state.expand(line, value)) for name, value in instruction.pairs]
    merged = {**environment_of(state.config.environment), **dict(pairs)}
    environment = tuple(f"{name}={value}" for name, value in merged.items())
    comment = " ".join(("ENV", *(f"{name}={value}" for name, value in pairs)))
    return _with(state, environment=environment), comment


def _label(state: StageState, instruction: Label) -> tuple[StageState, str]:
    line = instruction.line
    pairs = [(state.expand(line, name), state.expand(line, value)) for name, value in instruction.pairs]
    for name, _value in pairs:
        if not name:
            raise line.fail("LABEL names can not be blank")
    comment = " ".join(("LABEL", *(f"{name}={value}" for name, value in pairs)))
    return _with(state, labels={**state.config.labels, **dict(pairs)}), comment


def _arg(state: StageState, instruction: Arg) -> tuple[StageState, str]:
    shown = []
    for name, default in instruction.pairs:
        value = None if default is None else state.expand(instruction.line, default)
        state = replace(state, arguments=state.arguments.declare(name, value))
        shown.append(name if value is None else f"{name}={value}")
    return state, " ".join(("ARG", *shown))


def _words(state: StageState, words: Words) -> tuple[str, ...]:
    return (*state.shell, *words.words) if words.shell and words.words else words.words


def _quoted(words: Iterable[str]) -> str:
    return "[" + " ".join(json.dumps(word, ensure_ascii=False) for word in words) + "]"


def _command(state: StageState, instruction: Command) -> tuple[StageState, str]:
    words = _words(state, instruction.words)
    return replace(_with(state, command=words), command_set=True), f"CMD {_quoted(words)}"


def _entrypoint(state: StageState, instruction: Entrypoint) -> tuple[StageState, str]:
    words = _words(state, instruction.words)
    changed = _with(state, entrypoint=words)
    if not state.command_set:
        changed = _with(changed, command=None)
    return changed, f"ENTRYPOINT {_quoted(words)}"


def _expose(state: StageState, instruction: Expose) -> tuple[StageState, str]:
    words = state.expand_list(instruction.line, instruction.ports)
    ports = [port for word in words for port in _parse_ports(instruction.line, word)]
    every = tuple(dict.fromkeys((*state.config.exposed_ports, *ports)))
    return _with(state, exposed_ports=every), f"EXPOSE {' '.join(sorted(words))}"


def _parse_ports(line: Line, text: str) -> list[ContainerPort]:
    """`80`, `80/udp`, `8000-8010/tcp`."""
    match = _PORT.fullmatch(text)
    if match is None:
        raise line.fail(f"invalid containerPort: {text}")
    first, last = int(match[1]), int(match[2] or match[1])
    protocol = (match[3] or "tcp").lower()
    if not 0 <= first <= last <= 65535:
        raise line.fail(f"invalid containerPort: {text}")
    if protocol not in tuple(Protocol):
        raise line.fail(f"invalid proto: {match[3]}")
    return [ContainerPort(number, Protocol(protocol)) for number in range(first, last + 1)]


def _volumes(state: StageState, instruction: Volumes) -> tuple[StageState, str]:
    paths = tuple(state.expand(instruction.line, path) for path in instruction.paths)
    if not all(path.strip() for path in paths):
        raise instruction.line.fail("VOLUME specified can not be an empty string")
    every = tuple(dict.fromkeys((*state.config.volumes, *paths)))
    return _with(state, volumes=every), f"VOLUME [{' '.join(paths)}]"


def _user(state: StageState, instruction: User) -> tuple[StageState, str]:
    user = state.expand(instruction.line, instruction.user)
    return _with(state, user=user), f"USER {user}"


def _working_dir(state: StageState, instruction: WorkingDir) -> tuple[StageState, str]:
    given = state.expand(instruction.line, instruction.path)
    if not given:
        raise instruction.line.fail("cannot normalize nothing")
    path = absolute(state.config.working_dir, given).rstrip("/") or "/"
    return _with(state, working_dir=path), f"WORKDIR {path}"


def absolute(working_dir: str, path: str) -> str:
    """A destination, normalised; a slash (or a dot) at its end stays a slash."""
    joined = posixpath.join("/", working_dir, path)
    clean = posixpath.normpath(joined).replace("//", "/")
    if path.endswith(("/", "/.")) or path in (".", ".."):
        return clean.rstrip("/") + "/"
    return clean


def _stop_signal(state: StageState, instruction: StopSignal) -> tuple[StageState, str]:
    signal = state.expand(instruction.line, instruction.signal)
    try:
        parse_signal(signal)
    except InvalidArgument as error:
        raise instruction.line.fail(error.message) from None
    return _with(state, stop_signal=signal), f"STOPSIGNAL {signal}"


def _shell(state: StageState, instruction: Shell) -> tuple[StageState, str]:
    return _with(state, shell=instruction.words), f"SHELL [{' '.join(instruction.words)}]"


def _check(state: StageState, instruction: Check) -> tuple[StageState, str]:
    check = instruction.check
    durations = (check.interval, check.timeout, check.start_period, check.start_interval)
    times = " ".join(f'"{go_duration(duration)}"' for duration in durations)
    comment = f"HEALTHCHECK &{{{_quoted(check.test)} {times} {_go_letter(check.retries)}}}"
    return _with(state, healthcheck=check), comment


def _go_letter(number: int) -> str:
    """A number as Go's `%q` has it, by which dockerd writes the retries."""
    if number in _GO_ESCAPES:
        return f"'{_GO_ESCAPES[number]}'"
    if number < 0x20 or number == 0x7F:
        return f"'\\x{number:02x}'"
    return f"'{chr(number)}'" if number < 0x7F else f"'\\u{number:04x}'"


def _on_build(state: StageState, instruction: OnBuild) -> tuple[StageState, str]:
    triggers = (*state.config.on_build, instruction.trigger)
    return _with(state, on_build=triggers), f"ONBUILD {instruction.trigger}"


def _maintainer(state: StageState, instruction: Maintainer) -> tuple[StageState, str]:
    return replace(state, author=instruction.name), f"MAINTAINER {instruction.name}"


_CHANGES: dict[type, Callable[..., tuple[StageState, str]]] = {
    Arg: _arg,
    Check: _check,
    Command: _command,
    Entrypoint: _entrypoint,
    Env: _env,
    Expose: _expose,
    Label: _label,
    Maintainer: _maintainer,
    OnBuild: _on_build,
    Shell: _shell,
    StopSignal: _stop_signal,
    User: _user,
    Volumes: _volumes,
    WorkingDir: _working_dir,
}
