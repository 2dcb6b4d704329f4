"""Bytes to the user: straight to the descriptor, with no buffer to flush at the end."""

from posix import write as _write


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[_write(descriptor, data) :]


def write_out(text: str) -> None:
    """Data, to stdout. Raises BrokenPipeError when the reader has gone."""
    _write_all(1, text.encode("utf-8", "surrogateescape"))


def write_error(text: str) -> None:
    """Talk, to stderr; a reader that has gone is no error."""
    try:
        _write_all(2, text.encode("utf-8", "surrogateescape"))
    except OSError:
        pass
