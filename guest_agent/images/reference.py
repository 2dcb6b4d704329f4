"""Names of images: `[domain/]path[:tag][@digest]`, in docker's rules and wording. Pure.

Grammar: github.com/distribution/reference, reference.go. *Familiar* is what users see ("busybox:latest"), *canonical*
what is stored ("docker.io/library/busybox:latest").
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from guest_agent.store.content import parse_digest
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import Digest

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"

_OFFICIAL = "library/"
_LEGACY_DOMAIN = "index.docker.io"
#: reference.go: RepositoryNameTotalLengthMax.
_MAX_NAME = 255

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed name. `tag` and `digest` are "" where they weren't given."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Canonical, without tag and digest."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The short form, as long as it means the same: in docker.io/my.org/app the path looks like a host."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_OFFICIAL)
        short = self.path if "/" in short else short
        return short if _split_domain(short) == (self.domain, self.path) else self.name

    @property
    def canonical(self) -> str:
        return self.name + self._suffix

    @property
    def familiar(self) -> str:
        return self.familiar_name + self._suffix

    def with_default_tag(self) -> Reference:
        """`latest`, unless it has a tag or a digest."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def tagged(self) -> Reference:
        """Without the digest: what a tag record is made of."""
        return replace(self, digest="")

    def digested(self, digest: Digest) -> Reference:
        """The name with this digest, without the tag."""
        return replace(self, tag="", digest=digest)

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """What a user or an API client gave. Raises InvalidArgument "invalid reference format…"."""
    name, at, digest = text.partition("@")
    if at:
        _check_digest(digest)
    domain, path = _split_domain(name)
    path, colon, tag = path.partition(":")
    if path.lower() != path and path.isprintable():  # the error is one line
        raise InvalidArgument(f"invalid reference format: repository name ({path}) must be lowercase")
    if not _DOMAIN.fullmatch(domain) or not _PATH.fullmatch(path) or (colon and not _TAG.fullmatch(tag)):
        raise InvalidArgument("invalid reference format")
    if not colon and not at and domain == DEFAULT_DOMAIN and _IDENTIFIER.fullmatch(path.removeprefix(_OFFICIAL)):
        raise InvalidArgument(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    if len(path) > _MAX_NAME:
        raise InvalidArgument(f"invalid reference format: repository name must not be more than {_MAX_NAME} characters")
    return Reference(domain, path, tag, digest)


def _check_digest(digest: str) -> None:
    try:
        parse_digest(digest)
    except InvalidArgument as error:
        raise InvalidArgument("invalid reference format") from error


def _split_domain(name: str) -> tuple[str, str]:
    """The first part is a domain if it looks like one: a dot, a colon, `localhost`, or a capital letter."""
    first, slash, rest = name.partition("/")
    is_domain = "." in first or ":" in first or first == "localhost" or first.lower() != first
    if not slash or not is_domain:
        domain, path = DEFAULT_DOMAIN, name
    else:
        domain, path = first, rest
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = _OFFICIAL + path
    return domain, path
