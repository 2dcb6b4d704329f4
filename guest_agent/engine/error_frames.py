"""What an error keeps in memory: by its traceback every variable of the functions that it came through."""

from __future__ import annotations

from traceback import clear_frames


def forget_frames(error: BaseException | None) -> None:
    """Free them, of what has ended, and of the errors that it follows from; files and lines stay to be told.

    A task and a future are in a circle with their own error, which only the garbage collector opens. It comes by late
    where there are many objects, and there are: a million files that a COPY took.
    """
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
