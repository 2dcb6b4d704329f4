"""Environment and labels, from flags and from files."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Lookup = Callable[[str], str | None]


class BadFile(ValueError):
    """A file that can't be read, or a line in it that can't be understood."""


def environment(flags: list[str], files: list[str], lookup: "Lookup") -> list[str]:
    """The files' variables, then the flags'. A bare name takes its value from `lookup`.

    Without a value it is left out of a file; as a flag it stays bare, which unsets what the image says. Raises BadFile.
    """
    from_files = (_resolve(pair, lookup) for path in files for pair in _read_pairs(path, "env file"))
    return [*(pair for pair in from_files if "=" in pair), *(_resolve(pair, lookup) for pair in flags)]


def labels(flags: list[str], files: list[str]) -> dict[str, str]:
    """The files' labels and the flags'; a bare key has an empty value. Raises BadFile."""
    pairs = [pair for path in files for pair in _read_pairs(path, "label file")]
    return as_map([*pairs, *flags])


def as_map(pairs: list[str]) -> dict[str, str]:
    """`KEY=VALUE` strings as a dictionary; the last one counts."""
    return {key: value for key, _, value in (pair.partition("=") for pair in pairs)}


def _resolve(pair: str, lookup: "Lookup") -> str:
    if "=" in pair:
        return pair
    value = lookup(pair)
    return pair if value is None else f"{pair}={value}"


def _read_pairs(path: str, what: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise BadFile(f"open {path}: {(error.strerror or '').lower()}") from error
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        raise BadFile(f"invalid {what} ({path}): invalid utf8 bytes at line {number}") from error
    return list(parse_pairs(text, f"invalid {what} ({path})"))


def parse_pairs(text: str, blame: str) -> list[str]:
    """Lines of KEY=VALUE; `#` begins a comment, a bare KEY stays bare (docker's pkg/kvfile)."""
    pairs = []
    for line in text.split("\n"):
        line = line.removesuffix("\r").lstrip(" \t\v\f\r")
        if not line or line.startswith("#"):
            continue
        name = line.partition("=")[0]
        if not name:
            raise BadFile(f"{blame}: no variable name on line '{line}'")
        if any(letter.isspace() for letter in name):
            raise BadFile(f"{blame}: variable '{name}' contains whitespaces")
        pairs.append(line)
    return pairs
