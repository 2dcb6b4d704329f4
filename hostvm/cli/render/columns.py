"""Tables as docker's: Go's tabwriter with a minimum width of 10 and 3 spaces between columns."""

_MINIMUM = 10
_PADDING = 3


def tabulate(rows: list[list[str]]) -> str:
    """The rows under each other, the first being the header; the last column isn't padded."""
    widths = [max(_MINIMUM, max(map(len, column)) + _PADDING) for column in list(zip(*rows, strict=True))[:-1]]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)]
        lines.append("".join(cells) + row[-1] + "\n")
    return "".join(lines)
