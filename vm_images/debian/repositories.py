"""Which suites of which mirror a release is made from. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from guest_agent.wire.errors import InvalidArgument, NotFound
from vm_images.debian.apt_settings import AptSource

#: Used where the machine has no apt and nothing is configured.
DEFAULT_MIRROR = "https://mirrors.kernel.org/debian"

#: What an image's own apt points to, wherever the image was made.
PUBLIC_ARCHIVE = "http://deb.debian.org/debian"
PUBLIC_SECURITY = "http://deb.debian.org/debian-security"

#: Codename -> other names for it. Older ones have no suite `-security` on the mirrors, or are archived.
RELEASES = {"bullseye": ("11",), "bookworm": ("12",), "trixie": ("13",), "forky": ("14",), "sid": ("unstable",)}
#: It has neither -updates nor -security: everything new comes in there.
UNSTABLE = "sid"

_DEBIAN_SUITES = {*RELEASES, "stable", "oldstable", "oldoldstable", "testing", "unstable"}


@dataclass(frozen=True, slots=True)
class Repository:
    """A suite to fetch. One that is not `required` may be missing from the mirror; that is said, not hidden."""

    uri: str
    suite: str
    keyring: str = ""  #: "" = Debian's archive keyring
    required: bool = True
    component: str = "main"

    @property
    def base(self) -> str:
        return f"{self.uri}/dists/{self.suite}"


def find_release(name: str) -> str:
    """The codename that a user means. Raises NotFound with the nearest or all."""
    for codename, aliases in RELEASES.items():
        if name == codename or name in aliases:
            return codename
    near = get_close_matches(name, RELEASES, 1, 0.6)
    hint = f"did you mean debian:{near[0]}?" if near else f"there are: {', '.join(f'debian:{it}' for it in RELEASES)}"
    raise NotFound(f"no such Debian release: {name or '(none)'}", hint)


def plan_repositories(codename: str, sources: Sequence[AptSource], mirror: str = "") -> tuple[Repository, ...]:
    """The suites of `codename`: those of `mirror` if one is given, else apt's own mirrors, else the default's.

    A machine that runs another release of Debian still names its mirror: the address is taken, the suite replaced.
    """
    if mirror:
        return _plan_mirror(codename, _checked(mirror))
    archive = _find_source(sources, _is_archive, codename)
    if archive is None:
        return _plan_mirror(codename, DEFAULT_MIRROR)
    main = Repository(archive.uri, codename, archive.keyring)
    if codename == UNSTABLE:
        return (main,)
    planned = [main, Repository(archive.uri, f"{codename}-updates", archive.keyring, required=False)]
    security = _find_source(sources, _is_security, f"{codename}-security")
    if security is not None:
        planned.append(Repository(security.uri, f"{codename}-security", security.keyring, required=False))
    return tuple(planned)


def _checked(mirror: str) -> str:
    if not mirror.startswith(("http://", "https://", "file:///")):
        raise InvalidArgument(
            f"not a mirror's address: {mirror!r}",
            "HOSTVM_DEBIAN_MIRROR takes a URL such as http://deb.debian.org/debian",
        )
    return mirror.rstrip("/")


def _plan_mirror(codename: str, mirror: str) -> tuple[Repository, ...]:
    """Mirrors of debian/ have the security archive, if at all, as their sibling."""
    if codename == UNSTABLE:
        return (Repository(mirror, codename),)
    return (
        Repository(mirror, codename),
        Repository(mirror, f"{codename}-updates", required=False),
        Repository(f"{mirror}-security", f"{codename}-security", required=False),
    )


def _find_source(sources: Sequence[AptSource], wanted: object, suite: str) -> AptSource | None:
    """The first fitting source, one of exactly this suite before any other."""
    assert callable(wanted)
    fitting = [source for source in sources if _is_usable(source) and wanted(source.suite)]
    exact = (source for source in fitting if source.suite == suite)
    return next(exact, fitting[0] if fitting else None)


def _is_usable(source: AptSource) -> bool:
    """Vendors name their suites after Debian's as well, but have no component `main` and keys of their own."""
    own_key = source.keyring and "debian-archive" not in source.keyring
    return "main" in source.components and not own_key and source.uri.startswith(("http://", "https://", "file:/"))


def _is_archive(suite: str) -> bool:
    return suite in _DEBIAN_SUITES


def _is_security(suite: str) -> bool:
    return suite.removesuffix("-security") in _DEBIAN_SUITES and suite.endswith("-security")
