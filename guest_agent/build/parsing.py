"""Lines -> instructions and stages, with dockerd's words for what is wrong. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

from guest_agent.build.flags import Flags, parse_mount
from guest_agent.build.instructions import (
    Arg,
    Check,
    Command,
    Copy,
    Dockerfile,
    Entrypoint,
    Env,
    Expose,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Run,
    Shell,
    Stage,
    StopSignal,
    User,
    Volumes,
    Words,
    WorkingDir,
)
from guest_agent.build.reading import Line, read_lines, split_words
from guest_agent.build.suggesting import suggestion
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import Healthcheck

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_RESERVED = ("context", "scratch")
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def parse_dockerfile(data: bytes, name: str = "Dockerfile") -> Dockerfile:
    """Raises InvalidArgument: one line with the number of the faulty line, in dockerd's words."""
    if not data:
        raise InvalidArgument(f"the Dockerfile ({name}) cannot be empty")
    lines, escape = read_lines(data)
    if not lines:
        raise InvalidArgument("file with no instructions")
    first = next((index for index, line in enumerate(lines) if line.keyword == "FROM"), len(lines))
    arguments = tuple(_parse_argument_before_from(line, escape) for line in lines[:first])
    if first == len(lines):
        raise InvalidArgument("no build stage in current context", "a Dockerfile begins with FROM")
    return Dockerfile(arguments, tuple(_parse_stages(lines[first:], escape)), escape)


def parse_trigger(text: str, escape: str) -> Instruction:
    """An ONBUILD trigger of a base image."""
    lines, _ = read_lines(text.encode("utf-8", "surrogateescape"))
    if len(lines) != 1:
        raise InvalidArgument(f"malformed ONBUILD trigger: {text}")
    return parse_instruction(lines[0], escape)


def _parse_argument_before_from(line: Line, escape: str) -> Arg:
    instruction = parse_instruction(line, escape)
    if not isinstance(instruction, Arg):
        raise line.fail("no build stage in current context", "only ARG may stand before the first FROM")
    return instruction


def _parse_stages(lines: Iterable[Line], escape: str) -> Iterable[Stage]:
    stages: list[list[Line]] = []
    for line in lines:
        if line.keyword == "FROM":
            stages.append([])
        stages[-1].append(line)
    for index, (start, *rest) in enumerate(stages):
        yield _parse_stage(index, start, [parse_instruction(line, escape) for line in rest])


def _parse_stage(index: int, line: Line, instructions: list[Instruction]) -> Stage:
    flags = Flags(line, ("platform",))
    words = line.text.split()
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise line.fail("FROM requires either one or three arguments")
    name = words[2].lower() if len(words) == 3 else ""
    if name and (not _STAGE_NAME.fullmatch(name) or name in _RESERVED):
        raise line.fail(
            f'invalid name for build stage: "{words[2]}", name can\'t start with a number or contain symbols'
        )
    return Stage(line, index, words[0], name, flags.text("platform"), tuple(instructions))


def parse_instruction(line: Line, escape: str) -> Instruction:
    """Raises DockerfileError."""
    parser = _PARSERS.get(line.keyword)
    if parser is None:
        raise line.fail(f"unknown instruction: {line.keyword}{suggestion(line.keyword, (*_PARSERS, 'FROM'))}")
    return parser(line, escape)


# -- arguments


def _json_words(line: Line, text: str) -> tuple[str, ...] | None:
    """The JSON form; None where it is none."""
    if not text.lstrip().startswith("["):
        return None
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(words, list):
        return None
    if not all(isinstance(word, str) for word in words):
        raise line.fail("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(words)


def _command_words(line: Line, text: str) -> Words:
    words = _json_words(line, text)
    if words is not None:
        return Words(words, shell=False)
    return Words((text,) if text else (), shell=True)


def _path_words(line: Line, escape: str) -> tuple[str, ...]:
    words = _json_words(line, line.text)
    return split_words(line.text, escape) if words is None else words


def _no_flags(line: Line) -> None:
    Flags(line, ())


def _needs_argument(line: Line, exactly: bool = False) -> str:
    if not line.text:
        raise line.fail(f"{line.keyword} requires {'exactly' if exactly else 'at least'} one argument")
    return line.text


def _pairs(line: Line, escape: str) -> tuple[tuple[str, str], ...]:
    """`name=value ...`, or the old `name value`."""
    _no_flags(line)
    words = split_words(_needs_argument(line), escape)
    if "=" not in words[0]:
        name, _, value = line.text.replace("\t", " ").partition(" ")
        if not value.strip():
            raise line.fail(f"{line.keyword} must have two arguments")
        return ((name, value.strip()),)
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise line.fail(f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value')
        if not name:
            raise line.fail(f"{line.keyword} names can not be blank")
        pairs.append((name, value))
    return tuple(pairs)


def _one_word(line: Line) -> str:
    _no_flags(line)
    text = _needs_argument(line, exactly=True)
    if len(text.split()) > 1 and line.keyword in ("USER", "STOPSIGNAL"):
        raise line.fail(f"{line.keyword} requires exactly one argument")
    return text


# -- instructions


def _parse_arg(line: Line, escape: str) -> Arg:
    _no_flags(line)
    pairs: list[tuple[str, str | None]] = []
    for word in split_words(_needs_argument(line), escape):
        name, equals, value = word.partition("=")
        if not name:
            raise line.fail("ARG names can not be blank")
        pairs.append((name, value if equals else None))
    return Arg(line, tuple(pairs))


def _parse_copy(line: Line, escape: str) -> Copy:
    adds = line.keyword == "ADD"
    own = ("checksum", "keep-git-dir", "unpack") if adds else ("from", "parents")
    flags = Flags(line, ("chown", "chmod", "link", *own), many=("exclude",))
    words = _path_words(line, escape)
    if len(words) < 2:
        raise line.fail(
            f"{line.keyword} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
    markers = _heredoc_markers(line)
    return Copy(
        line=line,
        sources=tuple(word for word in words[:-1] if word not in markers),
        target=words[-1],
        heredocs=line.heredocs,
        adds=adds,
        origin="" if adds else _copy_origin(line, flags.text("from")),
        owner=flags.text("chown"),
        mode=flags.text("chmod"),
        checksum=flags.text("checksum") if adds else "",
        excludes=flags.texts("exclude"),
        link=bool(flags.flag("link")),
        parents=bool(not adds and flags.flag("parents")),
        keep_git_dir=bool(adds and flags.flag("keep-git-dir")),
        unpack=flags.flag("unpack") if adds else None,
    )


def _heredoc_markers(line: Line) -> frozenset[str]:
    """The words that stand for the heredocs, in every spelling: `<<EOF`, `<<-"EOF"`."""
    quotes = ("", '"', "'")
    return frozenset(
        f"<<{dash}{quote}{one.name}{quote}" for one in line.heredocs for dash in ("", "-") for quote in quotes
    )


def _copy_origin(line: Line, name: str) -> str:
    if "$" in name:
        raise line.fail(
            "variable expansion is not supported for --from, "
            "define a new stage with FROM using ARG from global scope as a workaround"
        )
    return name


def _parse_run(line: Line, escape: str) -> Run:
    flags = Flags(line, ("network", "security"), many=("mount",))
    if flags.text("security") not in ("", "sandbox"):
        raise line.fail(f"security mode {flags.text('security')} is not allowed", "a build's steps have no privileges")
    network = flags.text("network")
    if network not in ("", "default", "none", "host"):
        raise line.fail(f'invalid network mode "{network}"', "known: default, none, host")
    _needs_argument(line)
    mounts = tuple(parse_mount(line, text) for text in flags.texts("mount"))
    return Run(line, _command_words(line, line.text), mounts, network)


def _parse_expose(line: Line, escape: str) -> Expose:
    _no_flags(line)
    return Expose(line, split_words(_needs_argument(line), escape))


def _parse_volume(line: Line, escape: str) -> Volumes:
    _no_flags(line)
    _needs_argument(line)
    paths = _path_words(line, escape)
    if not all(path.strip() for path in paths):
        raise line.fail("VOLUME specified can not be an empty string")
    return Volumes(line, paths)


def _parse_command(line: Line, escape: str) -> Command:
    _no_flags(line)
    return Command(line, _command_words(line, line.text))


def _parse_entrypoint(line: Line, escape: str) -> Entrypoint:
    _no_flags(line)
    return Entrypoint(line, _command_words(line, line.text))


def _parse_shell(line: Line, escape: str) -> Shell:
    _no_flags(line)
    words = _json_words(line, _needs_argument(line))
    if words is None:
        raise line.fail("SHELL requires the arguments to be in JSON form")
    if not words:
        raise line.fail("SHELL requires at least one argument")
    return Shell(line, words)


def _parse_on_build(line: Line, _escape: str) -> OnBuild:
    """What the trigger itself has to say is read by the build that it is for, as with docker."""
    text = " ".join((*line.flags, _needs_argument(line)))
    keyword = text.split()[0].upper()
    if keyword == "ONBUILD":
        raise line.fail("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if keyword in ("MAINTAINER", "FROM"):
        raise line.fail(f"{keyword} isn't allowed as an ONBUILD trigger")
    body = "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in line.heredocs)
    return OnBuild(line, text + body)


def _parse_maintainer(line: Line, escape: str) -> Maintainer:
    _no_flags(line)
    return Maintainer(line, _needs_argument(line, exactly=True))


def _parse_healthcheck(line: Line, escape: str) -> Check:
    durations = ("interval", "timeout", "start-period", "start-interval")
    flags = Flags(line, (*durations, "retries"))
    kind, *more = _needs_argument(line).split(None, 1)
    keyword, rest = kind.upper(), "".join(more)
    if keyword == "NONE":
        if rest or line.flags:
            raise line.fail("HEALTHCHECK NONE takes no arguments")
        return Check(line, Healthcheck(test=("NONE",)))
    if keyword != "CMD":
        raise line.fail(f'Unknown type "{keyword}" in HEALTHCHECK (try CMD)')
    words = _command_words(line, rest.strip())
    if not words.words:
        raise line.fail("Missing command after HEALTHCHECK CMD")
    interval, timeout, start, start_interval = (_duration(line, name, flags.text(name)) for name in durations)
    test = ("CMD-SHELL" if words.shell else "CMD", *words.words)
    retries = _retries(line, flags.text("retries"))
    return Check(line, Healthcheck(test, interval, timeout, start, retries, start_interval))


def _duration(line: Line, name: str, text: str) -> int:
    """Go's: "1m30s"; nanoseconds. 0 where nothing was said."""
    if not text:
        return 0
    parts = _DURATION.findall(text)
    if "".join(number + unit for number, unit in parts) != text:
        raise line.fail(f'time: invalid duration "{text}"')
    total = int(sum(float(number) * _NANOSECONDS[unit] for number, unit in parts))
    if 0 < total < 10**6:
        raise line.fail(f'Interval "{name}" cannot be less than 1ms')
    return total


def _retries(line: Line, text: str) -> int:
    if not text:
        return 0
    if text.startswith("-") and text[1:].isdecimal():
        raise line.fail(f"--retries cannot be negative ({text})")
    if not text.isdecimal() or len(text) > 9:
        raise line.fail(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


_PARSERS: dict[str, Callable[[Line, str], Instruction]] = {
    "ADD": _parse_copy,
    "ARG": _parse_arg,
    "CMD": _parse_command,
    "COPY": _parse_copy,
    "ENTRYPOINT": _parse_entrypoint,
    "ENV": lambda line, escape: Env(line, _pairs(line, escape)),
    "EXPOSE": _parse_expose,
    "HEALTHCHECK": _parse_healthcheck,
    "LABEL": lambda line, escape: Label(line, _pairs(line, escape)),
    "MAINTAINER": _parse_maintainer,
    "ONBUILD": _parse_on_build,
    "RUN": _parse_run,
    "SHELL": _parse_shell,
    "STOPSIGNAL": lambda line, escape: StopSignal(line, _one_word(line)),
    "USER": lambda line, escape: User(line, _one_word(line)),
    "VOLUME": _parse_volume,
    "WORKDIR": lambda line, escape: WorkingDir(line, _one_word(line)),
}
