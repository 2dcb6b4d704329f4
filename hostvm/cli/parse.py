"""argv -> Arguments, by the rules of Go's pflag, which docker's users know by heart.

`--name value`, `--name=value`, `-n value`, `-nvalue`, `-n=value`, clusters as `-it`; a bool takes a value only by `=`;
`--` ends the flags; with `interspersed` False the first argument ends them too.
"""

from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure, bad_count, bad_flag, bad_value
from hostvm.cli.kinds import converter
from hostvm.cli.spec import Command, Flag


class HelpWanted(Exception):
    """`--help` was met."""


def parse(command: Command, words: list[str]) -> Arguments:
    """The parsed words that follow the verb. Raises Failure, HelpWanted."""
    parser = _Parser(command, words)
    parser.run()
    _check_count(command, len(parser.positional))
    return Arguments(command, parser.given, parser.positional, parser.before_dashes)


class _Parser:
    def __init__(self, command: Command, words: list[str]) -> None:
        self.command = command
        self.words = words
        self.next = 0
        self.given: dict[str, object] = {}
        self.positional: list[str] = []
        self.before_dashes: int | None = None

    def run(self) -> None:
        while self.next < len(self.words):
            word = self.words[self.next]
            self.next += 1
            if word == "--":
                self.before_dashes = len(self.positional)
                self._take_rest()
            elif word.startswith("--"):
                self._long(word)
            elif word.startswith("-") and word != "-":
                self._cluster(word)
            else:
                self.positional.append(word)
                if not self.command.interspersed:
                    self._take_rest()

    def _take_rest(self) -> None:
        self.positional += self.words[self.next :]
        self.next = len(self.words)

    def _long(self, word: str) -> None:
        name, has_value, value = word[2:].partition("=")
        flag = self._find_long(name)
        if has_value:
            self._store(flag, value)
        elif flag.kind == "bool":
            self._store(flag, "true")
        else:
            self._store(flag, self._next_word(f"flag needs an argument: --{name}"))

    def _find_long(self, name: str) -> Flag:
        for flag in self.command.flags:
            if flag.name == name:
                return flag
        if name == "help":
            raise HelpWanted
        raise bad_flag(self.command, f"unknown flag: --{name}", _flag_hint(self.command, name))

    def _cluster(self, word: str) -> None:
        letters = word[1:]
        while letters:
            flag = self._find_short(letters)
            rest = letters[1:]
            if rest.startswith("=") and len(rest) > 1:
                return self._store(flag, rest[1:])
            if flag.kind == "bool":
                self._store(flag, "true")
                letters = rest
                continue
            return self._store(flag, rest or self._next_word(f"flag needs an argument: '{flag.short}' in -{letters}"))
        return None

    def _find_short(self, letters: str) -> Flag:
        for flag in self.command.flags:
            if flag.short == letters[0]:
                return flag
        if letters[0] == "h":
            raise HelpWanted
        raise bad_flag(self.command, f"unknown shorthand flag: '{letters[0]}' in -{letters}")

    def _next_word(self, complaint: str) -> str:
        if self.next >= len(self.words):
            raise bad_flag(self.command, complaint)
        word = self.words[self.next]
        self.next += 1
        return word

    def _store(self, flag: Flag, text: str) -> None:
        try:
            value = converter(flag.kind)(text)
        except ValueError as error:
            raise bad_value(self.command, flag.spelling, text, str(error)) from None
        if flag.many:
            values = self.given.setdefault(flag.name, [])
            assert isinstance(values, list)
            values.append(value)
        else:
            self.given[flag.name] = value


def _flag_hint(command: Command, name: str) -> str:
    from hostvm.cli.suggest import closest

    match = closest(name, [flag.name for flag in command.flags])
    return f"did you mean --{match}?" if match else ""


def _check_count(command: Command, count: int) -> None:
    if count >= command.least and (command.most is None or count <= command.most):
        return
    failure: Failure
    if command.most == 0:
        failure = bad_count(command, "accepts no arguments")
    elif command.most is None:
        failure = bad_count(command, f"requires at least {_arguments(command.least)}", "See")
    elif command.most == command.least:
        failure = bad_count(command, f"requires {_arguments(command.least)}")
    elif command.least:
        failure = bad_count(command, f"requires at least {command.least} and at most {_arguments(command.most)}")
    else:
        failure = bad_count(command, f"requires at most {_arguments(command.most)}")
    raise failure


def _arguments(count: int) -> str:
    return "1 argument" if count == 1 else f"{count} arguments"
