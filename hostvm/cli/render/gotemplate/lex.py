"""Text -> pieces: literal text and actions; an action -> tokens (Go's text/template/parse/lex.go)."""

from hostvm.cli.render.gotemplate import TemplateError

_SPACE = " \t\r\n"
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class Token:
    """`kind` is one of: field, variable, word, string, number, symbol, space. `text` of a field is without its dot."""

    __slots__ = ("kind", "text")

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self.text = text

    def __repr__(self) -> str:
        return f"{self.kind}:{self.text!r}"


def split_actions(template: str) -> list[tuple[bool, str]]:
    """(is an action, its text) in order. `{{-` and `-}}` have trimmed the text beside them. Raises TemplateError."""
    pieces: list[tuple[bool, str]] = []
    rest, trim = template, False
    while True:
        text, found, rest = rest.partition("{{")
        if trim:
            text = text.lstrip(_SPACE)
        if found and rest.startswith("-") and rest[1:2] in _SPACE and rest[1:2]:
            text, rest = text.rstrip(_SPACE), rest[1:]
        if text:
            pieces.append((False, text))
        if not found:
            return pieces
        action, rest = _take_action(rest)
        trim = action.endswith("-") and action[-2:-1] in _SPACE and len(action) > 1
        pieces.append((True, action[:-1] if trim else action))


def _take_action(text: str) -> tuple[str, str]:
    """The action up to its `}}`, which may not be inside a string, and what follows."""
    comment = text.lstrip(_SPACE)
    if comment.startswith("/*"):
        end = text.find("*/")
        if end < 0:
            raise TemplateError("unclosed comment")
        tail = text[end + 2 :]
        return ("/**/" + tail[: tail.find("}}")], tail[tail.find("}}") + 2 :]) if "}}" in tail else _unclosed()
    position = 0
    while position < len(text):
        if text.startswith("}}", position):
            return text[:position], text[position + 2 :]
        position = _end_of_quoted(text, position) if text[position] in "\"`'" else position + 1
    return _unclosed()


def _unclosed() -> tuple[str, str]:
    raise TemplateError("unclosed action")


def _end_of_quoted(text: str, start: int) -> int:
    """The index behind the quoted text that begins at `start`. Raises TemplateError."""
    quote, position = text[start], start + 1
    while position < len(text):
        if text[position] == "\\" and quote != "`":
            position += 2
            continue
        if text[position] == quote:
            return position + 1
        if text[position] == "\n" and quote != "`":
            break
        position += 1
    raise TemplateError(
        {"`": "unterminated raw quoted string", "'": "unterminated character constant"}.get(
            quote, "unterminated quoted string"
        )
    )


def tokens(action: str) -> list[Token]:
    """The tokens of an action. A space counts, as `.A .B` are two operands and `.A.B` is one. Raises TemplateError."""
    found: list[Token] = []
    position = 0
    while position < len(action):
        token, position = _next_token(action, position)
        found.append(token)
    return found


def _next_token(action: str, start: int) -> tuple[Token, int]:
    letter = action[start]
    if letter in _SPACE:
        end = start + len(action[start:]) - len(action[start:].lstrip(_SPACE))
        return Token("space", " "), end
    if letter in "\"`'":
        end = _end_of_quoted(action, start)
        return _quoted(action[start:end]), end
    if letter == "." and action[start + 1 : start + 2] in _WORD and not action[start + 1].isdigit():
        end = _end_of_word(action, start + 1)
        return Token("field", action[start + 1 : end]), end
    if letter == "$":
        end = _end_of_word(action, start + 1)
        return Token("variable", action[start:end]), end
    if letter.isdigit() or (letter in "+-" and action[start + 1 : start + 2].isdigit()):
        return _number(action, start)
    if letter in _WORD:
        end = _end_of_word(action, start)
        return Token("word", action[start:end]), end
    if action.startswith(":=", start):
        return Token("symbol", ":="), start + 2
    if letter in ".|()=,":
        return Token("symbol", letter), start + 1
    raise TemplateError(f"unexpected {letter!r} in command")


def _end_of_word(text: str, position: int) -> int:
    while position < len(text) and text[position] in _WORD:
        position += 1
    return position


def _number(action: str, start: int) -> tuple[Token, int]:
    end = start + 1
    while end < len(action) and (action[end] in _WORD or action[end] == "."):
        end += 1
    text = action[start:end]
    try:
        float(text)
    except ValueError:
        raise TemplateError(f'bad number syntax: "{text}"') from None
    return Token("number", text), end


def _quoted(text: str) -> Token:
    body = text[1:-1]
    if text[0] == "`":
        return Token("string", body)
    plain = _unescape(body)
    if text[0] == "'":
        return Token("number", str(ord(plain))) if len(plain) == 1 else _malformed(text)
    return Token("string", plain)


def _malformed(text: str) -> Token:
    raise TemplateError(f"malformed character constant: {text}")


def _unescape(text: str) -> str:
    result, position = [], 0
    while position < len(text):
        letter = text[position]
        position += 1
        if letter != "\\":
            result.append(letter)
            continue
        escape = text[position : position + 1]
        position += 1
        if escape in _ESCAPES and escape:
            result.append(_ESCAPES[escape])
        elif escape in ("x", "u", "U"):
            width = {"x": 2, "u": 4, "U": 8}[escape]
            result.append(_code_point(text[position : position + width], width))
            position += width
        else:
            raise TemplateError("invalid syntax")
    return "".join(result)


def _code_point(digits: str, width: int) -> str:
    try:
        if len(digits) != width:
            raise ValueError
        return chr(int(digits, 16))
    except (ValueError, OverflowError):
        raise TemplateError("invalid syntax") from None
