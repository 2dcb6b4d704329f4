"""What the user typed, parsed: the values of the flags, and the arguments.

Each getter states the type it wants, so that handlers are type-checked; asking for a flag that the command doesn't
have is a bug (KeyError).
"""

from hostvm.cli.spec import Command


class Arguments:
    """The flags' values are converted already; an absent flag has its default."""

    __slots__ = ("_given", "before_dashes", "command", "positional")

    def __init__(
        self, command: Command, given: dict[str, object], positional: list[str], before_dashes: int | None = None
    ) -> None:
        self.command = command
        self._given = given
        self.positional = positional
        self.before_dashes = before_dashes  #: how many arguments stood before `--`; None where there was none

    def given(self, name: str) -> bool:
        """Whether the flag stood on the command line."""
        return name in self._given

    def value(self, name: str) -> object:
        """The flag's value or default, whatever its type."""
        if name in self._given:
            return self._given[name]
        return _default(self.command, name)

    def flag(self, name: str) -> bool:
        return bool(self.value(name))

    def text(self, name: str) -> str:
        value = self.value(name)
        return "" if value is None else str(value)

    def number(self, name: str) -> int:
        value = self.value(name)
        return value if isinstance(value, int) else 0

    def many(self, name: str) -> list[object]:
        value = self.value(name)
        return list(value) if isinstance(value, list) else []

    def texts(self, name: str) -> list[str]:
        """The values of a flag of strings."""
        return [str(item) for item in self.many(name)]


def _default(command: Command, name: str) -> object:
    for flag in command.flags:
        if flag.name == name:
            return flag.default
    raise KeyError(f"{command.path} has no flag --{name}")
