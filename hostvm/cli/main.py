"""The door of the command line.

Hot path: find the verb, parse its words by the table, call its handler; nothing is imported that this verb doesn't
need. `--help`, completion and what only typer knows go through `cold/`. No exception leaves `main`: a user's fault
is one line and a hint, a bug is a traceback and how to report it.
"""

import sys
from _signal import SIG_DFL, SIGINT, default_int_handler, getsignal, signal  # type: ignore[import-not-found]
from posix import _exit, environ

from guest_agent.wire.errors import HostvmError
from hostvm import __version__
from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure, bad_run, refused, with_hint
from hostvm.cli.output import write_error, write_out
from hostvm.cli.parse import HelpWanted, parse
from hostvm.cli.table import COLD_VERBS, NOUNS, VERBATIM, VERBS, load
from hostvm.client.connection import Engine
from hostvm.machines.connect import connect
from hostvm.settings import Settings, read_settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Callable
    from typing import NoReturn

    from hostvm.cli.start_progress import StartProgress

    Handler = Callable[["Context", Arguments], int]


class Context:
    """What a handler is given besides its arguments."""

    __slots__ = ("_path", "_progress", "engine", "settings")

    def __init__(self, settings: Settings, path: str) -> None:
        self.settings = settings
        self.engine = Engine(self.connect)
        self._path = path
        self._progress: StartProgress | None = None

    def connect(self) -> "Socket":
        """A stream to the chosen machine's engine, which is started where it doesn't run. Raises Failure."""
        try:
            return connect(self.settings, self._hear)
        except HostvmError as error:
            if self._path.removeprefix("container ") in ("run", "create"):
                raise bad_run(self._path, error.message, error.hint) from error
            raise Failure(error.message, 1, error.hint) from error
        finally:
            if self._progress:
                self._progress.close()

    def _hear(self, stage: str) -> None:
        """A stage of a machine's start."""
        if not self._progress:
            from hostvm.cli.start_progress import StartProgress

            self._progress = StartProgress(self.settings.machine)
        self._progress(stage)


def main(words: list[str] | None = None) -> "NoReturn":
    """Runs one command and ends the process; skipping the interpreter's tear-down saves 1-2 ms."""
    if getsignal(SIGINT) == SIG_DFL:  # by the launcher
        signal(SIGINT, default_int_handler)
    code = run(sys.argv[1:] if words is None else words)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    _exit(code)


def run(words: list[str]) -> int:
    """One command; gives its exit code."""
    try:
        return _dispatch(words)
    except Failure as failure:
        if failure.text:
            write_error(failure.text + "\n")
        return failure.code
    except HostvmError as error:
        write_error(refused(error).text + "\n")
        return 1
    except BrokenPipeError:
        return 141  # as a process that SIGPIPE ended
    except KeyboardInterrupt:
        return 130
    except Exception:
        return _report_bug(words)


def _dispatch(words: list[str]) -> int:
    settings = read_settings(environ)
    if words[:1] == ["__complete"]:
        from hostvm.cli.complete import complete

        return complete(words[1:], settings)
    rest = words
    if words[:1] in (["--version"], ["-v"]):
        write_out(f"hostvm version {__version__}\n")
        return 0
    if words[:1] and words[0].startswith("-"):
        from hostvm.cli.globals import take_globals

        rest = take_globals(words, settings)
    if not rest or rest[0] in COLD_VERBS:
        return _cold(rest, settings)
    path, rest = _find(rest)
    if not path:
        return _cold(rest, settings)
    return call(path, rest, settings)


def _find(words: list[str]) -> tuple[str, list[str]]:
    """The command's path and the words after it; "" where help for a noun is wanted. Raises Failure."""
    first = words[0]
    if first in VERBS and not _have_noun(words):
        return first, words[1:]
    if first == "help":
        return "", [*words[1:], "--help"]
    if first not in NOUNS:
        raise _unknown(first)
    if len(words) == 1 or words[1] in ("--help", "-h", "help"):
        return "", [first, "--help"]
    if words[1] not in NOUNS[first]:
        raise _unknown(words[1], first)
    return f"{first} {words[1]}", words[2:]


def _have_noun(words: list[str]) -> bool:
    """`context ls`; `context` alone is a verb, too."""
    return len(words) > 1 and words[1] in NOUNS.get(words[0], ())


def call(path: str, words: list[str], settings: Settings) -> int:
    """Parses the words of a known command and runs its handler."""
    command = load(path)
    try:
        arguments = Arguments(command, {}, words) if path in VERBATIM else parse(command, words)
    except HelpWanted:
        return _cold([*path.split(), "--help"], settings)
    try:
        return handler(command.handler)(Context(settings, path), arguments)
    except HostvmError as error:
        if path.startswith("machine ") or path == "doctor":  # no engine was asked
            raise Failure(f"hostvm: {error.message}", 1, error.hint) from error
        raise


def handler(reference: str) -> "Handler":
    """The function that "module:function" names, imported."""
    module, _, name = reference.partition(":")
    full = f"hostvm.cli.{module}"
    __import__(full)
    return getattr(sys.modules[full], name)  # type: ignore[no-any-return]


def _cold(words: list[str], settings: Settings) -> int:
    from hostvm.cli.cold.app import run_cold

    return run_cold(words, settings)


def _unknown(word: str, noun: str = "") -> Failure:
    from hostvm.cli.suggest import closest

    if word.startswith("-"):
        text = f"unknown flag: {word}"
        return Failure(
            f"{text}\n\nUsage:  hostvm {noun} COMMAND\n\nRun 'hostvm {noun} --help' for more information", 125
        )
    path = f"{noun} {word}".strip()
    match = closest(word, NOUNS[noun] if noun else [*VERBS, *NOUNS, *COLD_VERBS])
    usage = f"Usage:  hostvm {noun}\n\nRun 'hostvm {noun} --help'" if noun else "Run 'hostvm --help'"
    hint = f"did you mean `hostvm {f'{noun} {match}'.strip()}`?" if match else ""
    return Failure(f"hostvm: unknown command: hostvm {path}\n\n{usage} for more information", 1, hint)


def _report_bug(words: list[str]) -> int:
    import traceback

    write_error(traceback.format_exc())
    text = f"this is a bug of hostvm's own, met by: hostvm {' '.join(words)}"
    write_error(with_hint(text, "please report it with the lines above and the output of `hostvm version`") + "\n")
    return 125
