"""How the command line fails: what stands on stderr, and the exit code. The wording is Docker's.

Hints are ours: one line, after the message.
"""

from guest_agent.wire.errors import RUN_EXIT_CODE, HostvmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.spec import Command

#: What Docker says before an error of the engine.
FROM_ENGINE = "Error response from daemon: "


class Failure(Exception):
    """Ends the command: `text` goes to stderr as it is ("" = nothing), `code` to the shell."""

    def __init__(self, text: str, code: int = 1, hint: str = "") -> None:
        super().__init__(text)
        self.text = with_hint(text, hint)
        self.code = code


def with_hint(text: str, hint: str) -> str:
    """The hint follows the first line, which is the message."""
    if not hint:
        return text
    message, newline, rest = text.partition("\n")
    return f"{message}\nhint: {hint}{newline}{rest}"


def bad_flag(command: "Command", message: str, hint: str = "") -> Failure:
    """An unknown flag or a flag's malformed value."""
    text = f"{message}\n\nUsage:  {command.usage}\n\nRun 'hostvm {command.path} --help' for more information"
    return Failure(text, 125, hint)


def bad_value(command: "Command", spelling: str, value: str, reason: str) -> Failure:
    """A flag's value that its kind refuses."""
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return bad_flag(command, f'invalid argument "{quoted}" for "{spelling}" flag: {reason}')


def bad_count(command: "Command", requirement: str, see: str = "Run") -> Failure:
    """Too few or too many arguments."""
    text = (
        f"hostvm: 'hostvm {command.path}' {requirement}\n\nUsage:  {command.usage}\n\n"
        f"{see} 'hostvm {command.path} --help' for more information"
    )
    return Failure(text, 1)


def bad_run(path: str, message: str, hint: str = "", code: int = 125) -> Failure:
    """What keeps `run`, `create` from making a container."""
    return Failure(f"hostvm: {message}\n\nRun 'hostvm {path} --help' for more information", code, hint)


def refused_run(path: str, error: HostvmError) -> Failure:
    """The engine's refusal of a `run`: 125, 126 or 127; of a `create`, which starts nothing: 1."""
    if path.endswith("create"):
        return refused(error)
    return bad_run(path, FROM_ENGINE + error.message, error.hint, _run_code(error))


def _run_code(error: HostvmError) -> int:
    """By the error's kind, and as docker's client has it by its text, whatever file it is about."""
    if error.kind in RUN_EXIT_CODE:
        return RUN_EXIT_CODE[error.kind]
    if "no such file or directory" in error.message:
        return 127
    return 126 if "permission denied" in error.message or "is a directory" in error.message else 125


def refused(error: HostvmError, code: int = 1) -> Failure:
    """The engine's refusal of anything else."""
    return Failure(FROM_ENGINE + error.message, code, error.hint)
