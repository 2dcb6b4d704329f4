"""The words in which `table/` describes the command line: what a command and a flag are.

Pure data, read by the parser on the hot path, and by `cold/` for help and completion. No dataclasses here: importing
them takes longer than answering `ps`.
"""


class Flag:
    """One option. `kind` names its converter (see `kinds.py`); `many` collects every occurrence."""

    __slots__ = ("default", "group", "help", "kind", "many", "name", "short")

    def __init__(
        self, name: str, short: str, kind: str, help: str, default: object, group: str, many: bool
    ) -> None:  # fmt: skip
        self.name = name
        self.short = short
        self.kind = kind
        self.help = help
        self.default = default
        self.group = group
        self.many = many

    @property
    def spelling(self) -> str:
        """As error messages quote it: `-m, --memory`."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


def switch(name: str, short: str, help: str, default: bool = False, group: str = "") -> Flag:
    """An option without a value."""
    return Flag(name, short, "bool", help, default, group, False)


def option(name: str, short: str, kind: str, help: str, default: object = None, group: str = "") -> Flag:
    """An option with one value; the last one given counts. The default None means its kind's zero."""
    return Flag(name, short, kind, help, default, group, False)


def many(name: str, short: str, kind: str, help: str, group: str = "") -> Flag:
    """An option that may be given more than once."""
    return Flag(name, short, kind, help, None, group, True)


class Command:
    """One verb: `path` is how it is called ("container ls"), `handler` is "module:function" below `hostvm.cli`.

    `least` and `most` bound the number of arguments (`most` None: any number). With `interspersed` False the flags end
    at the first argument, as in `run IMAGE ls -l`. `operand` says what the arguments name, for completion.
    """

    __slots__ = (
        "arguments", "examples", "flags", "handler", "help", "interspersed", "least", "most", "operand", "path",
    )  # fmt: skip

    def __init__(
        self,
        path: str,
        handler: str,
        help: str,
        flags: tuple[Flag, ...] = (),
        arguments: str = "",
        least: int = 0,
        most: int | None = 0,
        interspersed: bool = True,
        operand: str = "",
        examples: tuple[str, ...] = (),
    ) -> None:
        self.path = path
        self.handler = handler
        self.help = help
        self.flags = flags
        self.arguments = arguments
        self.least = least
        self.most = most
        self.interspersed = interspersed
        self.operand = operand
        self.examples = examples

    @property
    def usage(self) -> str:
        """`hostvm run [OPTIONS] IMAGE [COMMAND] [ARG...]`, as Docker writes it."""
        words = ["hostvm", self.path, "[OPTIONS]" if self.flags else "", self.arguments]
        return " ".join(word for word in words if word)

    def renamed(self, path: str) -> "Command":
        """The same command under another name: `container ls` for `ps`."""
        return Command(
            path, self.handler, self.help, self.flags, self.arguments, self.least, self.most, self.interspersed,
            self.operand, tuple(line.replace(f"hostvm {self.path}", f"hostvm {path}", 1) for line in self.examples),
        )  # fmt: skip
