"""Tables as docker's: Go's tabwriter with a minimum width of 10 and 3 spaces between columns."""

_MINIMUM = 10
_PADDING = 3


def tabulate(rows: list[list[str]]) -> str:
    """The rows under each other, the first being the header; the last column isn't padded."""
    widths = [max(_MINIMUM, max(map(len, column)) + _PADDING) for column in list(zip(*rows, strict=True))[:-1]]
    line = "".join([f"%-{width}s" for width in widths]) + "%s\n"
    return "".join([line % tuple(row) for row in rows])
