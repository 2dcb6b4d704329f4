"""Tokens -> tree (Go's text/template/parse/parse.go)."""

from hostvm.cli.render.gotemplate import TemplateError
from hostvm.cli.render.gotemplate.functions import FUNCTIONS
from hostvm.cli.render.gotemplate.lex import Token, split_actions, tokens
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

_BLOCKS = ("if", "range", "with")
_REFUSED = ("define", "template", "block")
_CONSTANTS = {"true": True, "false": False, "nil": None}


def parse_template(template: str) -> list[object]:
    """The nodes of a template. Raises TemplateError."""
    parser = _Parser(split_actions(template))
    nodes, ending = parser.nodes()
    if ending:
        raise TemplateError(f"unexpected {{{{{ending}}}}}")
    return nodes


class _Parser:
    def __init__(self, pieces: list[tuple[bool, str]]) -> None:
        self._pieces = pieces
        self._next = 0
        self._loops = 0

    def nodes(self) -> tuple[list[object], str]:
        """Nodes up to `end`, `else` or the template's end, and which of these it was ("else if …" in full)."""
        nodes: list[object] = []
        while self._next < len(self._pieces):
            is_action, text = self._pieces[self._next]
            self._next += 1
            if not is_action:
                nodes.append(Text(text))
                continue
            keyword = text.split(maxsplit=1)[0] if text.split() else ""
            if keyword in ("end", "else"):
                return nodes, text.strip()
            if keyword != "/**/":
                nodes.append(self._action(keyword, text))
        return nodes, ""

    def _action(self, keyword: str, text: str) -> object:
        if keyword in _REFUSED:
            raise TemplateError(f"{{{{{keyword}}}}} is not supported")
        if keyword in ("break", "continue"):
            if not self._loops:
                raise TemplateError(f"{{{{{keyword}}}}} outside {{{{range}}}}")
            return Leave(keyword)
        if keyword in _BLOCKS:
            return self._block(keyword, text.strip()[len(keyword) :])
        return Action(parse_pipeline(text))

    def _block(self, kind: str, text: str) -> Block:
        block = Block(kind, parse_pipeline(text, kind))
        self._loops += kind == "range"
        block.body, ending = self.nodes()
        self._loops -= kind == "range"
        self._close(block, ending)
        return block

    def _close(self, block: Block, ending: str) -> None:
        if not ending:
            raise TemplateError("unexpected EOF")
        if ending == "end":
            return
        nested = ending.removeprefix("else").split(maxsplit=1)
        if nested and nested[0] in ("if", "with"):
            block.otherwise = [self._block(nested[0], nested[1] if len(nested) > 1 else "")]
            return
        block.otherwise, ending = self.nodes()
        if ending != "end":
            raise TemplateError("expected end; found {{" + ending + "}}" if ending else "unexpected EOF")


def parse_pipeline(text: str, context: str = "command") -> Pipeline:
    """`$x := a | b c`. Raises TemplateError."""
    reader = _Reader(tokens(text))
    names, declares = reader.declaration()
    pipeline = reader.pipeline(context, names, declares)
    if reader.peek():
        raise TemplateError(f"unexpected {reader.peek()!r} in {context}")
    return pipeline


class _Reader:
    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._next = 0

    def peek(self, ahead: int = 0) -> str:
        """The text of the next symbol; "" at the end; the kind of anything else."""
        index = self._next + ahead
        if index >= len(self._tokens):
            return ""
        token = self._tokens[index]
        return token.text if token.kind == "symbol" else token.kind

    def _take(self) -> Token:
        self._next += 1
        return self._tokens[self._next - 1]

    def _skip_space(self) -> None:
        while self.peek() == "space":
            self._next += 1

    def declaration(self) -> tuple[list[str], bool]:
        """`$x :=`, `$i, $x :=`, `$x =`: the names, and whether they are made here."""
        start, names = self._next, []
        while True:
            self._skip_space()
            if self.peek() != "variable":
                break
            names.append(self._take().text)
            self._skip_space()
            if self.peek() in (":=", "="):
                return names, self._take().text == ":="
            if self.peek() != ",":
                break
            self._next += 1
        self._next = start
        return [], False

    def pipeline(self, context: str, names: list[str], declares: bool) -> Pipeline:
        commands = [self._command()]
        while self.peek() == "|":
            self._next += 1
            commands.append(self._command())
        if not all(commands):
            raise TemplateError(f"missing value for {context}")
        return Pipeline(commands, names, declares)

    def _command(self) -> list[object]:
        operands: list[object] = []
        while True:
            self._skip_space()
            if self.peek() in ("", "|", ")"):
                return operands
            operands.append(self._operand())
            if self.peek() not in ("", "|", ")", "space"):
                raise TemplateError(f"unexpected {self.peek()!r} in operand")

    def _operand(self) -> object:
        token = self._take()
        base = self._base(token)
        fields = [token.text] if token.kind == "field" else []
        while self.peek() == "field":
            fields.append(self._take().text)
        return Chain(base, fields) if fields else base

    def _base(self, token: Token) -> object:
        if token.kind == "field" or (token.kind == "symbol" and token.text == "."):
            return Dot()
        if token.kind == "variable":
            return Variable(token.text)
        if token.kind == "string":
            return Literal(token.text)
        if token.kind == "number":
            return Literal(float(token.text) if "." in token.text or "e" in token.text.lower() else int(token.text))
        if token.kind == "word":
            return _word(token.text)
        if token.text == "(":
            return self._parenthesis()
        raise TemplateError(f"unexpected {token.text!r} in command")

    def _parenthesis(self) -> Pipeline:
        inner = self.pipeline("parenthesized pipeline", [], False)
        if self.peek() != ")":
            raise TemplateError("unclosed left paren")
        self._next += 1
        return inner


def _word(name: str) -> object:
    if name in _CONSTANTS:
        return Literal(_CONSTANTS[name])
    if name not in FUNCTIONS and name not in ("and", "or"):
        raise TemplateError(f'function "{name}" not defined')
    return Function(name)
