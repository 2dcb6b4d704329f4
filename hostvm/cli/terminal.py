"""The user's terminal: its size, and raw mode that is always given back."""

import termios
from fcntl import ioctl
from posix import isatty
from struct import Struct

_WINSIZE = Struct("HHHH")


def is_terminal(descriptor: int) -> bool:
    return isatty(descriptor)


def console_size(descriptor: int = 1) -> tuple[int, int]:
    """(rows, columns); (0, 0) where there is no terminal."""
    try:
        rows, columns, _, _ = _WINSIZE.unpack(ioctl(descriptor, termios.TIOCGWINSZ, bytes(_WINSIZE.size)))
    except OSError:
        return 0, 0
    return rows, columns


class RawMode:
    """Raw mode as cfmakeraw(3) has it, from `enter` to `leave`; `leave` may be called at any time, and twice."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._saved: list[object] | None = None

    def enter(self) -> None:
        saved = termios.tcgetattr(self._descriptor)
        mode = list(saved)
        mode[0] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
            | termios.ICRNL | termios.IXON
        )  # fmt: skip
        mode[1] &= ~termios.OPOST
        mode[2] = (mode[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
        mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        mode[6] = list(mode[6])
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        self._saved = saved
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, mode)

    def leave(self) -> None:
        saved, self._saved = self._saved, None
        if saved is not None:
            try:
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, saved)  # type: ignore[arg-type]
            except termios.error:
                pass  # the terminal has gone
