"""How the engine inside a machine has the machine's host fetch a git repository: the guest has no git.

The guest opens a stream with the request; the host answers with a line of JSON, {} or {"error": …}, and after {} with
the repository's tar in pieces: the length as big-endian u32, then the bytes; a piece of none ends it, so that a stream
that was cut off isn't taken for a whole one. The guest says nothing more; where it ends the stream, nobody waits.

The engine's side is not trusted by the host's: `parse_request` checks what it asks for. Pure.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from struct import Struct
from typing import TypeGuard

from guest_agent.wire.errors import (
    HostvmError,
    InvalidArgument,
    PeerMisbehaved,
    Unsupported,
    error_of_record,
    error_record,
)
from guest_agent.wire.git_sources import split_git_source

SERVICE = "repository"
#: The agent's own limit.
_LONGEST_LINE = 4096
#: Characters of what git complained of.
_LONGEST_TEXT = 4000
#: A piece that is announced as longer isn't one.
LARGEST_PIECE = 1 << 20
#: The host's own files, keys and programs are not for the guest: git's `file`, `ssh` and `ext` are left out.
PROTOCOLS = ("http", "https", "git")

_LENGTH = Struct(">I")
HEADER_SIZE = _LENGTH.size


@dataclass(frozen=True, slots=True)
class Wanted:
    """`remote` is `URL#REFERENCE:FOLDER`; `authorization` the value of that header, which the build's client gave."""

    remote: str
    keep_git: bool = False
    authorization: str = ""


def format_request(wanted: Wanted) -> bytes:
    """The line for the agent's socket. Raises InvalidArgument for one that is too long."""
    line = json.dumps({"to": SERVICE, **asdict(wanted)}).encode() + b"\n"
    if len(line) > _LONGEST_LINE:
        raise InvalidArgument("the repository's URL, or what opens it, is too long")
    return line


def parse_request(request: dict[str, object]) -> Wanted:
    """Raises PeerMisbehaved for what isn't a request, Unsupported for a protocol that isn't for the guest."""
    remote, keep_git, authorization = (request.get(name) for name in ("remote", "keep_git", "authorization"))
    if not _is_line(remote) or not isinstance(keep_git, bool) or not _is_line(authorization):
        raise PeerMisbehaved("a request for a repository has a remote, keep_git and an authorization")
    scheme, separator, _ = split_git_source(remote)[0].partition("://")
    if not separator or scheme not in PROTOCOLS:
        how = f"a machine's host fetches repositories by {', '.join(PROTOCOLS[:-1])} and {PROTOCOLS[-1]} only"
        raise Unsupported(how, "clone the repository, and build its folder")
    return Wanted(remote, keep_git, authorization)


def _is_line(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value.isprintable()


def format_answer(error: HostvmError | None = None) -> bytes:
    """A line below 64 KiB."""
    record = {"error": error_record(type(error)(error.message[:_LONGEST_TEXT], error.hint))} if error else {}
    return json.dumps(record).encode() + b"\n"


def check_answer(line: bytes) -> None:
    """Raises the error that it tells, also the agent's own refusal; PeerMisbehaved where it is no answer."""
    try:
        error = json.loads(line).get("error")
    except (ValueError, AttributeError, RecursionError):
        raise PeerMisbehaved("the machine's host gave no answer") from None
    if error is not None:
        raise error_of_record(error)


def format_piece(data: bytes) -> bytes:
    """b"" is the end."""
    return _LENGTH.pack(len(data)) + data


def parse_header(data: bytes) -> int:
    """The bytes of the piece that follows, 0 at the end. Raises PeerMisbehaved."""
    (length,) = _LENGTH.unpack(data)
    if length > LARGEST_PIECE:
        raise PeerMisbehaved("a piece of a repository is too long")
    return int(length)
