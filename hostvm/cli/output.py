"""Bytes to the user: straight to the descriptor, with no buffer to flush at the end."""

from posix import write as _write


def write_bytes(descriptor: int, data: bytes) -> None:
    """All of `data`, also where somebody has set the descriptor to non-blocking. Raises BrokenPipeError."""
    while data:
        try:
            data = data[_write(descriptor, data) :]
        except BlockingIOError:
            from select import select

            select([], [descriptor], [])


def write_out(text: str) -> None:
    """Data, to stdout. Raises BrokenPipeError when the reader has gone."""
    write_bytes(1, text.encode("utf-8", "surrogateescape"))


def write_error(text: str) -> None:
    """Talk, to stderr; a reader that has gone is no error."""
    try:
        write_bytes(2, text.encode("utf-8", "surrogateescape"))
    except OSError:
        pass
