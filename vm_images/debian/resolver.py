"""Which packages an image needs, and in which order dpkg takes them. Pure.

Resolution is debootstrap's with versions: each dependency takes the first alternative that can be had, unless a
package that is already chosen satisfies it. There is no backtracking: Debian's own stable archive doesn't need it,
and what can't be satisfied is an error, never a guess.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from guest_agent.wire.errors import Conflict, NotFound, PeerMisbehaved
from vm_images.debian.packages import Alternatives, Catalogue, Package, Relation

Selection = dict[str, Package]


def find_package(catalogue: Catalogue, name: str) -> Package:
    """The package that a user named. Raises NotFound with the nearest name as a hint."""
    package = catalogue.candidate(name)
    if package is not None:
        return package
    providers = catalogue.providers(name)
    if providers:
        names = ", ".join(provider.name for provider in providers[:5])
        raise NotFound(f"package {name} is a virtual package", f"name one of those that provide it: {names}")
    near = catalogue.similar(name)
    hint = f"did you mean {near}?" if near else "https://packages.debian.org lists what there is"
    raise NotFound(f"no such Debian package: {name}", hint)


def resolve(catalogue: Catalogue, seeds: Iterable[Package], chosen: Mapping[str, Package] | None = None) -> Selection:
    """`seeds` and all that they depend on, beside what is `chosen` already (which is part of the answer).

    Raises PeerMisbehaved for a dependency that the archive can't satisfy, Conflict for packages that exclude others.
    """
    selection: Selection = dict(chosen or {})
    queue = [package for package in seeds if package.name not in selection]
    selection.update((package.name, package) for package in queue)
    while queue:
        package = queue.pop(0)
        for group in (*package.pre_depends, *package.depends):
            if _is_met(group, selection.values()):
                continue
            found = _choose(catalogue, package, group)
            selection[found.name] = found
            queue.append(found)
    _check_conflicts(selection.values())
    return selection


def _is_met(group: Alternatives, packages: Collection[Package]) -> bool:
    return any(package.meets(relation) for relation in group for package in packages)


def _choose(catalogue: Catalogue, dependent: Package, group: Alternatives) -> Package:
    for relation in group:
        package = _find_for(catalogue, relation)
        if package is not None:
            return package
    text = " | ".join(map(str, group))
    raise PeerMisbehaved(
        f"package {dependent.name} {dependent.version} depends on {text}, which the archive doesn't have",
        "the mirror may be in the middle of an update: try again later or another mirror (HOSTVM_DEBIAN_MIRROR)",
    )


def _find_for(catalogue: Catalogue, relation: Relation) -> Package | None:
    package = catalogue.candidate(relation.name)
    if package is not None and package.meets(relation):
        return package
    return next((provider for provider in catalogue.providers(relation.name) if provider.meets(relation)), None)


def _check_conflicts(packages: Collection[Package]) -> None:
    names = {name for package in packages for name in (package.name, *(other.name for other in package.provides))}
    for package in packages:
        for group in package.conflicts:
            for relation in group:
                if relation.name in names:
                    _check_conflict(package, relation, packages)


def _check_conflict(package: Package, relation: Relation, packages: Iterable[Package]) -> None:
    for other in packages:
        if other.name != package.name and other.meets(relation):
            raise Conflict(f"packages {package.name} and {other.name} can't be installed together")


def closure(seeds: Iterable[Package], within: Mapping[str, Package]) -> Selection:
    """`seeds` and those packages of a finished selection that they depend on."""
    found: Selection = {}
    queue = list(seeds)
    while queue:
        package = queue.pop()
        if package.name not in found:
            found[package.name] = package
            queue += [
                within[name] for name in sorted(_needed((*package.pre_depends, *package.depends), package, within))
            ]
    return found


def plan_batches(packages: Sequence[Package], installed: Mapping[str, Package]) -> list[list[Package]]:
    """`packages` as a list of `dpkg --install` commands, in order.

    dpkg unpacks all of a command before it configures, in order of dependencies. A pre-dependency must be configured
    before its dependent is unpacked, so it has to be in an earlier command. A dependency may be in the same one.
    """
    waiting = {package.name: package for package in packages if package.name not in installed}
    depth = dict.fromkeys(waiting, 0)
    changed = True
    for _ in range(len(waiting) + 1):
        if not changed:
            break
        changed = _deepen(waiting, depth)
    levels = sorted(set(depth.values()))
    return [[waiting[name] for name in sorted(waiting) if depth[name] == level] for level in levels]


def _deepen(waiting: Mapping[str, Package], depth: dict[str, int]) -> bool:
    """One round of raising every package's depth to what its relations ask for; whether anything changed."""
    changed = False
    for package in waiting.values():
        least = max(
            [depth[name] for name in _needed(package.depends, package, waiting)]
            + [depth[name] + 1 for name in _needed(package.pre_depends, package, waiting)],
            default=0,
        )
        if least > depth[package.name]:
            depth[package.name] = least
            changed = True
    return changed


def _needed(groups: Iterable[Alternatives], package: Package, waiting: Mapping[str, Package]) -> set[str]:
    """The names among `waiting` that satisfy the groups."""
    return {
        other.name
        for group in groups
        for relation in group
        for other in _meeting(relation, waiting)
        if other.name != package.name
    }


def _meeting(relation: Relation, waiting: Mapping[str, Package]) -> list[Package]:
    direct = waiting.get(relation.name)
    if direct is not None:
        return [direct]
    return [package for package in waiting.values() if package.meets(relation)]
