"""Tree + data -> text (Go's text/template/exec.go).

Data is what JSON has: None, bool, int, float, str, list, dict; and any object with `template_field(name)`, which is how
a listing's row gives its columns. A key that a map doesn't have gives `<no value>`; with `strict` it is an error, as
docker has it for `inspect`.
"""

from hostvm.cli.render.gotemplate import TemplateError
from hostvm.cli.render.gotemplate.functions import FUNCTIONS, MISSING, Missing, is_true
from hostvm.cli.render.gotemplate.parse import parse_template
from hostvm.cli.render.gotemplate.printing import go_value
from hostvm.cli.render.gotemplate.tree import (
    Action,
    Block,
    Chain,
    Dot,
    Function,
    Leave,
    Literal,
    Pipeline,
    Text,
    Variable,
)


class _Left(Exception):
    """`break` or `continue` on its way to its range."""


class _Broken(_Left):
    pass


class Template:
    """A parsed template, to be rendered any number of times. Raises TemplateError."""

    def __init__(self, text: str, strict: bool = False) -> None:
        self._nodes = parse_template(text)
        self._strict = strict

    def render(self, data: object) -> str:
        """The text for one value. Raises TemplateError."""
        run = _Run(data, self._strict)
        run.walk(self._nodes, data)
        return "".join(run.output)


class _Run:
    def __init__(self, data: object, strict: bool) -> None:
        self.output: list[str] = []
        self._strict = strict
        self._variables: list[tuple[str, object]] = [("$", data)]

    def walk(self, nodes: list[object], dot: object) -> None:
        """Prints the nodes; variables made here end here."""
        depth = len(self._variables)
        try:
            for node in nodes:
                self._node(node, dot)
        finally:
            del self._variables[depth:]

    def _node(self, node: object, dot: object) -> None:
        if isinstance(node, Text):
            self.output.append(node.text)
        elif isinstance(node, Action):
            value = self._pipeline(node.pipeline, dot)
            if not node.pipeline.names:
                self.output.append(go_value(value))
        elif isinstance(node, Leave):
            raise _Broken if node.kind == "break" else _Left
        elif isinstance(node, Block):
            self._block(node, dot)

    def _block(self, block: Block, dot: object) -> None:
        depth = len(self._variables)
        try:
            if block.kind == "range":
                self._range(block, dot)
                return
            value = self._pipeline(block.pipeline, dot)
            inner = value if block.kind == "with" and is_true(value) else dot
            self.walk(block.body if is_true(value) else block.otherwise, inner)
        finally:
            del self._variables[depth:]

    def _range(self, block: Block, dot: object) -> None:
        names, declares = block.pipeline.names, block.pipeline.declares
        value = self._commands(block.pipeline, dot)
        items = _items(value)
        for key, item in items:
            depth = len(self._variables)
            targets = {1: [item], 2: [key, item]}.get(len(names), [])
            for name, part in zip(names, targets, strict=False):
                self._assign(name, part, declares)
            try:
                self.walk(block.body, item)
            except _Broken:
                break
            except _Left:
                continue
            finally:
                del self._variables[depth:]
        if not items:
            self.walk(block.otherwise, dot)

    def _assign(self, name: str, value: object, declares: bool) -> None:
        if declares:
            self._variables.append((name, value))
            return
        for index in range(len(self._variables) - 1, -1, -1):
            if self._variables[index][0] == name:
                self._variables[index] = (name, value)
                return
        raise TemplateError(f'undefined variable "{name}"')

    def _pipeline(self, pipeline: Pipeline, dot: object) -> object:
        value = self._commands(pipeline, dot)
        for name in pipeline.names:
            self._assign(name, value, pipeline.declares)
        return value

    def _commands(self, pipeline: Pipeline, dot: object) -> object:
        value: object = None
        for number, command in enumerate(pipeline.commands):
            value = self._command(command, dot, [value] if number else [])
        return value

    def _command(self, command: list[object], dot: object, piped: list[object]) -> object:
        first, *rest = command
        if isinstance(first, Function):
            return self._call(first.name, rest, dot, piped)
        if rest or piped:
            return self._method(first, [*(self._operand(operand, dot) for operand in rest), *piped], dot)
        return self._operand(first, dot)

    def _method(self, first: object, arguments: list[object], dot: object) -> object:
        """`.Label "x"`: a field that takes arguments."""
        base = self._operand(first.base, dot) if isinstance(first, Chain) and len(first.fields) == 1 else None
        call = getattr(base, "template_method", None)
        if call is None or not isinstance(first, Chain):
            raise TemplateError(f"can't give argument to non-function {_describe(first)}")
        return call(first.fields[0], arguments)

    def _call(self, name: str, operands: list[object], dot: object, piped: list[object]) -> object:
        if name in ("and", "or"):
            return self._shortcut(name, operands, dot, piped)
        arguments = [*(self._operand(operand, dot) for operand in operands), *piped]
        try:
            return FUNCTIONS[name](*arguments)
        except TypeError as error:
            raise TemplateError(f"wrong number of args for {name}: got {len(arguments)}") from error

    def _shortcut(self, name: str, operands: list[object], dot: object, piped: list[object]) -> object:
        """`and`, `or` give the first operand that decides, and don't look at the rest."""
        if not operands and not piped:
            raise TemplateError(f"wrong number of args for {name}: want at least 1 got 0")
        value: object = None
        for operand in operands:
            value = self._operand(operand, dot)
            if is_true(value) == (name == "or"):
                return value
        return piped[0] if piped else value

    def _operand(self, operand: object, dot: object) -> object:
        if isinstance(operand, Dot):
            return dot
        if isinstance(operand, Literal):
            return operand.value
        if isinstance(operand, Variable):
            return self._variable(operand.name)
        if isinstance(operand, Pipeline):
            return self._pipeline(operand, dot)
        if isinstance(operand, Function):
            return self._call(operand.name, [], dot, [])
        assert isinstance(operand, Chain)
        value = self._operand(operand.base, dot)
        for name in operand.fields:
            value = self._field(value, name)
        return value

    def _variable(self, name: str) -> object:
        for known, value in reversed(self._variables):
            if known == name:
                return value
        raise TemplateError(f'undefined variable "{name}"')

    def _field(self, value: object, name: str) -> object:
        own = getattr(value, "template_field", None)
        if own:
            return own(name)
        if isinstance(value, dict):
            return self._map_field(value, name)
        if value is None or isinstance(value, Missing):
            raise TemplateError(f'executing "" at <.{name}>: nil pointer evaluating interface {{}}.{name}')
        raise TemplateError(f'executing "" at <.{name}>: can\'t evaluate field {name} in type {type(value).__name__}')

    def _map_field(self, value: dict[str, object], name: str) -> object:
        key = find_key(value, name)
        if key:
            return value[key]
        if self._strict and not _is_dictionary(value):
            raise no_entry(name)
        return MISSING


def find_key(value: dict[str, object], name: str) -> str:
    """The key that a field's name stands for, "" for none. JSON says `Id`, Go's structs say `ID`: users write both."""
    return next((key for key in (name, name.replace("ID", "Id"), name.replace("Id", "ID")) if key in value), "")


def no_entry(name: str) -> TemplateError:
    return TemplateError(f'executing "" at <.{name}>: map has no entry for key "{name}"')


def _is_dictionary(value: dict[str, object]) -> bool:
    """Whether it is a map in Go, such as Labels, and not a struct: only its values tell."""
    return all(isinstance(item, str) for item in value.values())


def _items(value: object) -> list[tuple[object, object]]:
    """What a range walks over: a list by index, a map by sorted key, a number from 0 on."""
    if isinstance(value, dict):
        return [(key, value[key]) for key in sorted(value)]
    if isinstance(value, list):
        return list(enumerate(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return [(number, number) for number in range(value)]
    if value is None or isinstance(value, Missing):
        return []
    raise TemplateError(f"range can't iterate over {go_value(value)}")


def _describe(operand: object) -> str:
    if isinstance(operand, Chain):
        return "." + ".".join(operand.fields)
    return go_value(operand.value) if isinstance(operand, Literal) else "."
