"""A Dockerfile's text -> its lines: instructions with their flags, arguments and heredocs. Pure; no meaning yet.

The rules are those of moby's parser: directives (`# escape=`) stand before everything else; a line that ends in the
escape character goes on; comments and empty lines inside of a continued one are dropped; RUN, COPY and ADD may have
heredocs, whose text follows the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from guest_agent.wire.errors import InvalidArgument

#: Instructions whose arguments may hold `<<WORD`.
_WITH_HEREDOCS = ("ADD", "COPY", "RUN", "ONBUILD")
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*")
_DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC = re.compile(r"(?<!\S)(\d*)<<(-?)(?:\"([^\"<]+)\"|'([^'<]+)'|([^\s<>'\"|&;()]+))")
_QUOTED = re.compile(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"")
#: bufio.MaxScanTokenSize of Go, which moby's scanner has.
_LONGEST_LINE = 64 << 10


class DockerfileError(InvalidArgument):
    """A fault of the Dockerfile, with its line in front, as dockerd words it."""

    def __init__(self, line: int, message: str, hint: str = "") -> None:
        super().__init__(f"dockerfile parse error on line {line}: {message}", hint)
        self.line = line
        self.reason = message  #: without the line


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A file in the Dockerfile. `expands` is False where its word was quoted; `chomps` is the `-` of `<<-`."""

    name: str
    content: str
    expands: bool
    chomps: bool

    @property
    def text(self) -> str:
        """The content; `<<-` takes the tabs at the lines' starts away."""
        if not self.chomps:
            return self.content
        return "".join(line.lstrip("\t") for line in self.content.splitlines(keepends=True))


@dataclass(frozen=True, slots=True)
class Line:
    """One instruction. `keyword` is in upper case; `source` is all of it on one line, as progress shows it."""

    number: int
    keyword: str
    text: str  #: the arguments, without the flags
    flags: tuple[str, ...] = ()  #: the leading `--words`
    heredocs: tuple[Heredoc, ...] = ()
    source: str = ""
    gaps: bool = False  #: empty lines inside of it, where a line goes on
    last: int = 0  #: the number of its last physical line, that of a heredoc's end; 0 where there is none

    def fail(self, message: str, hint: str = "") -> DockerfileError:
        return DockerfileError(self.number, message, hint)


def read_lines(data: bytes) -> tuple[tuple[Line, ...], str]:
    """All instructions, and the escape character. Raises DockerfileError."""
    raw = _physical_lines(data)
    for number, line in enumerate(raw, 1):
        if len(line) > _LONGEST_LINE:
            raise DockerfileError(number, "dockerfile line greater than maximum allowed size of 65535")
    escape = _read_directives(raw).get("escape", "\\")
    return tuple(_Reader(raw, escape).lines()), escape


def find_syntax(data: bytes) -> str:
    """The front end that `# syntax=` names, or "". Raises DockerfileError."""
    return _read_directives(_physical_lines(data)).get("syntax", "").partition(" ")[0]


def find_last_line(data: bytes, first: int) -> int:
    """Of the instruction that begins at the line `first`; that line itself where none does, or nothing can be read."""
    try:
        lines, _ = read_lines(data)
    except DockerfileError:
        return first
    return next((line.last for line in lines if line.number == first), first)


def _physical_lines(data: bytes) -> list[str]:
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    return [line.removesuffix("\r") for line in text.split("\n")]


def _read_directives(raw: list[str]) -> dict[str, str]:
    """Those that are known, until something else comes."""
    found: dict[str, str] = {}
    for number, line in enumerate(raw, 1):
        match = _DIRECTIVE.fullmatch(line.strip())
        if match is None or match[1].lower() not in _DIRECTIVES:
            break
        name = match[1].lower()
        if name in found:
            raise DockerfileError(number, f"only one {name} parser directive can be used")
        found[name] = match[2]
        if name == "escape" and match[2] not in ("\\", "`"):
            raise DockerfileError(number, f"invalid escape token '{match[2]}' does not match ` or \\")
    return found


class _Reader:
    def __init__(self, raw: list[str], escape: str) -> None:
        self._raw = raw
        self._escape = escape
        self._continued = re.compile(rf"([\s\S]*?)(?<!{re.escape(escape)}){re.escape(escape)}[ \t]*")
        self._next = 0
        self._gaps = False  # in the last one that was joined

    def lines(self) -> Iterator[Line]:
        while self._next < len(self._raw):
            number = self._next + 1
            text = self._join()
            if text.strip():
                line = replace(_split(number, text.strip()), gaps=self._gaps)
                line = self._with_heredocs(line) if line.keyword in _WITH_HEREDOCS else line
                yield replace(line, last=self._next)

    def _join(self) -> str:
        """One instruction's physical lines as one; "" for a comment or nothing."""
        parts: list[str] = []
        self._gaps = False
        while self._next < len(self._raw):
            line = self._raw[self._next]
            self._next += 1
            self._gaps |= bool(parts) and not line.strip()
            if line.lstrip().startswith("#") or (parts and not line.strip()):
                if parts:
                    continue
                return ""
            match = self._continued.fullmatch(line if parts else line.lstrip())
            if match is None:
                parts.append(line)
                break
            parts.append(match[1])
        return "".join(parts)

    def _with_heredocs(self, line: Line) -> Line:
        masked = _QUOTED.sub(
            lambda match: match[0] if "<<" in _before(line.text, match) else "x" * len(match[0]), line.text
        )
        if line.text.startswith("["):
            return line
        found = list(_HEREDOC.finditer(masked))
        return replace(line, heredocs=tuple(self._read_heredoc(line, match) for match in found)) if found else line

    def _read_heredoc(self, line: Line, match: re.Match[str]) -> Heredoc:
        name = match[3] or match[4] or match[5]
        chomps = bool(match[2])
        content: list[str] = []
        while self._next < len(self._raw):
            text = self._raw[self._next]
            self._next += 1
            shown = text.lstrip("\t") if chomps else text
            if shown == name:
                return Heredoc(name, "".join(f"{one}\n" for one in content), not (match[3] or match[4]), chomps)
            content.append(text)
        raise line.fail("unterminated heredoc", f"a line with {name} alone ends it")


def _before(text: str, match: re.Match[str]) -> str:
    """What stands directly in front of a quoted word: it is a heredoc's name behind `<<`."""
    return text[max(0, match.start() - 3) : match.start()].rstrip("-")[-2:]


def _split(number: int, text: str) -> Line:
    keyword, _, rest = (
        text.replace("\t", " ", 1).partition(" ") if "\t" in text.split(" ", 1)[0] else text.partition(" ")
    )
    flags, rest = _split_flags(rest.strip())
    return Line(number, keyword.upper(), rest, flags, source=text)


def _split_flags(text: str) -> tuple[tuple[str, ...], str]:
    """The words at the front that begin with two dashes; `--` alone ends them."""
    flags: list[str] = []
    while text.startswith("--"):
        match = re.match(r"(?:[^\s\"'\\]|\"[^\"]*\"|'[^']*'|\\.)+", text)
        if match is None:
            break
        word, text = match[0], text[match.end() :].lstrip()
        if word == "--":
            break
        flags.append(re.sub(r"\"([^\"]*)\"|'([^']*)'|\\(.)", lambda one: one[1] or one[2] or one[3] or "", word))
    return tuple(flags), text


def split_words(text: str, escape: str) -> tuple[str, ...]:
    """Words with their quotes still on; spaces inside of quotes, or escaped, don't split."""
    marked = re.escape(escape)
    word = rf"(?:{marked}[\s\S]|\"(?:{marked}[\s\S]|[^\"{marked}])*(?:\"|$)|'[^']*(?:'|$)|[^\s])+"
    return tuple(match[0] for match in re.finditer(word, text))
