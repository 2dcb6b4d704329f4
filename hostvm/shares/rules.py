"""Which host paths a machine may see: the user's list, as a tree of names.

A *covered* path is one of the list's or lies below one. An *ancestor* leads to one: it is shown, read-only and with
only what leads on. Everything else is hidden. A path of the list that passes through symbolic links is resolved once,
when the list is read; the guest could otherwise turn a link of a shared folder to somewhere else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

Names = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """`visible` is where the guest finds what stands at `real`; both from "/" on, without it."""

    visible: Names
    real: Names


@dataclass(frozen=True, slots=True)
class Covered:
    """The path's place on the host, free of symbolic links as far as the list goes."""

    real: Names


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A folder that is only there to lead to what is shared."""

    children: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ShareRules:
    """No rule lies below another."""

    rules: tuple[Rule, ...]

    def find(self, path: Names) -> Covered | Ancestor | None:
        """None: hidden. The root is never hidden: it is an ancestor even of an empty list."""
        for rule in self.rules:
            if path[: len(rule.visible)] == rule.visible:
                return Covered(rule.real + path[len(rule.visible) :])
        children = {rule.visible[len(path)] for rule in self.rules if rule.visible[: len(path)] == path}
        return Ancestor(tuple(sorted(children))) if children or not path else None


def plan_rules(paths: Iterable[str], resolve: Callable[[str], str] = os.path.realpath) -> ShareRules:
    """Each path is shown as it is spelled, and as it is spelled without symbolic links."""
    rules: dict[Names, Rule] = {}
    for path in paths:
        real = split_path(resolve(path))
        for visible in (split_path(os.path.normpath(path)), real):
            rules.setdefault(visible, Rule(visible, real))
    return ShareRules(tuple(rule for rule in rules.values() if not _below_another(rule.visible, rules)))


def covers(paths: Iterable[str], path: str) -> bool:
    """Whether a machine with that list may see the path."""
    return isinstance(plan_rules(paths).find(split_path(os.path.normpath(path))), Covered)


def split_path(path: str) -> Names:
    """ "/home/me" -> (b"home", b"me")."""
    return tuple(name for name in os.fsencode(path).split(b"/") if name)


def _below_another(path: Names, rules: Iterable[Names]) -> bool:
    return any(path != other and path[: len(other)] == other for other in rules)
