"""`--help`, by a typer app that is made from the table; and the verbs that only typer knows.

Every command of the table becomes a typer command with a signature of its own, so that help has its options, defaults
and groups. These commands are never executed: words that aren't a call for help go through `parse.py`.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from typing import Literal

import typer

from hostvm.cli.spec import Command, Flag
from hostvm.cli.table import COLD_VERBS, NOUN_HELP, NOUNS, VERBS, load
from hostvm.settings import Settings

#: The panels of `hostvm --help`, in order.
_PANELS = {
    "Common commands": ("run", "exec", "ps", "logs", "stop", "rm", "pull", "images", "bootstrap"),
    "Containers": (
        "create", "start", "restart", "kill", "attach", "wait", "inspect", "port", "top", "pause", "unpause", "rename",
        "update", "cp", "diff", "export", "stats",
    ),
    "Images": (
        "build",
        "rmi", "tag", "history", "push", "save", "load", "import", "commit", "search", "login", "logout",
    ),
    "Engine": ("info", "version", "events", "env", "compose", "doctor", "completion"),
}  # fmt: skip

_METAVARS = {
    "int": "INT", "size": "BYTES", "swap": "BYTES", "cpus": "DECIMAL", "filter": "FILTER", "env": "NAME[=VALUE]",
    "label": "KEY=VALUE", "host": "HOST:IP", "address": "ADDRESS", "ulimit": "ULIMIT", "mount": "MOUNT",
    "sysctl": "KEY=VALUE", "stream": "STREAM", "mebibytes": "SIZE", "gibibytes": "SIZE", "duration": "TIME",
    "folder": "PATH", "uint16": "INT", "rate": "PATH:BYTES", "operations": "PATH:INT", "weight": "PATH:INT",
    "device-rule": "RULE", "gpus": "GPUS", "pairs": "KEY=VALUE,...",
}  # fmt: skip

_MACHINE_HELP = "The machine to use; by default native on Linux, vm on macOS."
_MACHINE = typer.Option("", "--machine", "-m", help=_MACHINE_HELP, metavar="NAME")
_HOST = typer.Option("", "--host", "-H", help="The socket of an engine that somebody else runs.", metavar="unix://PATH")
_VERSION = typer.Option(False, "--version", "-v", help="Print the version and quit.")


def run_cold(words: list[str], settings: Settings) -> int:
    """Help for `words`, or a command of typer's own; gives the exit code."""
    os.environ["HOSTVM_MACHINE"] = settings.machine
    app = make_app(rich=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    try:
        code = app(words or ["--help"], prog_name="hostvm", standalone_mode=True)
    except SystemExit as ending:
        code = ending.code
    return code if isinstance(code, int) else 0


def make_app(rich: bool) -> typer.Typer:
    """The app; without `rich` its pages are plain text."""
    app = _typer("Run containers. The commands, flags and messages are docker's.", rich)
    app.callback()(_root)
    _add_verbs(app, rich)
    for noun, verbs in NOUNS.items():
        group = _typer(f"{NOUN_HELP[noun]}.", rich)
        for verb in verbs:
            _add(group, verb, load(f"{noun} {verb}"), rich)
        app.add_typer(group, name=noun, rich_help_panel="By noun")
    return app


def _typer(help: str, rich: bool) -> typer.Typer:
    mode: Literal["rich"] | None = "rich" if rich else None
    return typer.Typer(help=help, rich_markup_mode=mode, add_completion=False, no_args_is_help=True)


def _root(machine: str = _MACHINE, host: str = _HOST, version: bool = _VERSION) -> None:
    """Options that stand before the command."""


def _literal(text: str, rich: bool) -> str:
    """Brackets are markup to rich, and syntax to us."""
    return text.replace("[", "\\[") if rich else text


def _add_verbs(app: typer.Typer, rich: bool) -> None:
    for panel, verbs in _PANELS.items():
        for verb in verbs:
            if verb in COLD_VERBS:
                _add_own(app, verb, panel)
            else:
                _add(app, verb, load(verb), rich, panel)
    forgotten = set(VERBS) - set(NOUNS) - {verb for verbs in _PANELS.values() for verb in verbs}
    assert not forgotten, f"no panel for {forgotten}"


def _add_own(app: typer.Typer, verb: str, panel: str) -> None:
    """A verb that is a typer app in a module of its name."""
    try:
        module = __import__(f"hostvm.cli.{verb}", fromlist=("app",))
    except ModuleNotFoundError as error:
        if error.name != f"hostvm.cli.{verb}":
            raise
        return
    app.add_typer(module.app, name=verb, rich_help_panel=panel)


def _add(app: typer.Typer, name: str, command: Command, rich: bool, panel: str | None = None) -> None:
    register = app.command(
        name,
        help=_literal(_page(command), rich),
        short_help=command.help,
        rich_help_panel=panel,
        options_metavar=_options(command),
    )
    register(_described(command, rich))


def _options(command: Command) -> str:
    """The arguments stand here too: typer would put their brackets into braces."""
    return command.usage.removeprefix(f"hostvm {command.path}").strip()


def _page(command: Command) -> str:
    """The help text: a line, then examples that can be pasted. `\\b` keeps typer from filling the lines."""
    page = command.help + "."
    if command.examples:
        page += "\n\n\b\nExamples:\n" + "\n".join(f"  {line}" for line in command.examples)
    return page


def _described(command: Command, rich: bool) -> Callable[..., None]:
    """A function whose signature has the command's flags."""

    def callback(**_values: object) -> None:
        raise AssertionError(f"{command.path} is run by hostvm.cli.main")

    parameters = [_flag_parameter(flag, index, rich) for index, flag in enumerate(command.flags)]
    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return callback


def _flag_parameter(flag: Flag, index: int, rich: bool) -> inspect.Parameter:
    names = [f"--{flag.name}", *([f"-{flag.short}"] if flag.short else [])]
    shown = flag.default not in (None, "", -1, False)
    option = typer.Option(
        _default(flag), *names, help=_literal(flag.help + ".", rich), show_default=shown,
        rich_help_panel=flag.group or None,
        metavar=None if flag.kind == "bool" else _METAVARS.get(flag.kind, "TEXT"),
    )  # fmt: skip
    annotation = bool if flag.kind == "bool" else list[str] if flag.many else str
    return inspect.Parameter(f"flag_{index}", inspect.Parameter.KEYWORD_ONLY, default=option, annotation=annotation)


def _default(flag: Flag) -> object:
    if flag.kind == "bool":
        return bool(flag.default)
    return None if flag.default is None or flag.many else str(flag.default)
