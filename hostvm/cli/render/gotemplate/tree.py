"""The nodes of a parsed template."""

from __future__ import annotations


class Text:
    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Literal:
    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


class Dot:
    __slots__ = ()


class Variable:
    """`$` or `$name`."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Function:
    """The name of a function, as the first word of a command."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Chain:
    """`.A.B`, `$x.A`, `(…).A`: fields one after the other, of what `base` gives."""

    __slots__ = ("base", "fields")

    def __init__(self, base: object, fields: list[str]) -> None:
        self.base = base
        self.fields = fields


class Pipeline:
    """Commands, each a list of operands; what one gives is the next one's last argument. `names` are assigned to."""

    __slots__ = ("commands", "declares", "names")

    def __init__(self, commands: list[list[object]], names: list[str], declares: bool) -> None:
        self.commands = commands
        self.names = names
        self.declares = declares


class Action:
    __slots__ = ("pipeline",)

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline


class Block:
    """`if`, `range`, `with`: `kind` says which."""

    __slots__ = ("body", "kind", "otherwise", "pipeline")

    def __init__(self, kind: str, pipeline: Pipeline) -> None:
        self.kind = kind
        self.pipeline = pipeline
        self.body: list[object] = []
        self.otherwise: list[object] = []


class Leave:
    """`break` or `continue`."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind
