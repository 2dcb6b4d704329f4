"""Did you mean …? The nearest of the words that there are."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def distance(left: str, right: str) -> int:
    """Levenshtein's distance, where swapping two neighbours counts once (optimal string alignment)."""
    before: list[int] = []
    previous = list(range(len(right) + 1))
    for row, letter in enumerate(left, 1):
        current = [row]
        for column, other in enumerate(right, 1):
            cost = min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (letter != other))
            swapped = row > 1 and column > 1 and letter == right[column - 2] and left[row - 2] == other
            current.append(min(cost, before[column - 2] + 1) if swapped else cost)
        before, previous = previous, current
    return previous[-1]


def closest(word: str, known: "Iterable[str]") -> str:
    """The known word that `word` is probably meant to be; "" where none is near.

    Two slips at most, as git and cobra have it, and one in words of up to three letters.
    """
    limit = 1 if len(word) <= 3 else 2
    best = min(((distance(word, candidate), candidate) for candidate in known), default=(99, ""))
    return best[1] if best[0] <= limit else ""
