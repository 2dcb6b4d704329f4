"""The JSON of what seldom changes, kept: records are frozen, so the text is right as long as they are the same."""

from __future__ import annotations

from collections.abc import Callable, Collection

_AT_FIRST = 64


class Rendered:
    """Texts by the id of what they show. `living` gives the ids that are still there: others are forgotten in time."""

    def __init__(self, living: Callable[[], Collection[str]]) -> None:
        self._living = living
        self._kept: dict[str, tuple[tuple[object, ...], bytes]] = {}
        self._room = _AT_FIRST

    def text(self, key: str, sources: tuple[object, ...], render: Callable[[], bytes]) -> bytes:
        """What `render` gave for these very sources, or gives now. They MUST be all that the text depends on."""
        kept = self._kept.get(key)
        if kept is not None and kept[0] == sources:
            return kept[1]
        if len(self._kept) >= self._room:
            self._forget_the_dead()
        text = render()
        self._kept[key] = (sources, text)
        return text

    def _forget_the_dead(self) -> None:
        living = frozenset(self._living())
        self._kept = {key: kept for key, kept in self._kept.items() if key in living}
        self._room = max(_AT_FIRST, 2 * len(self._kept))
