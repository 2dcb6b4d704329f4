"""Which addresses of an engine docker's command line takes, and what it says of the others. Pure.

Sources: net/url of Go; docker/cli, cli/connhelper; moby, client/client.go; docker/go-connections, sockets.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from hostvm.cli.failure import Failure

#: sockaddr_un.sun_path.
_LONGEST_PATH = 108
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2}).{0,2}")
#: What Go lets stand in a host's name beside letters and digits, and anything that isn't ASCII.
_NO_HOST = re.compile(r"[\x00-\x20<>\"\\^`{|}#]")


def check_host(host: str) -> None:
    """Raises Failure in docker's words."""
    problem = _url_problem(host)
    if problem:
        raise Failure(f'invalid docker endpoint options: parse "{host}": {problem}')
    scheme, found, address = host.partition("://")
    if found and scheme.lower() == "ssh":
        _check_ssh(address)
        return
    if not found or not address:
        raise _unusable(f"unable to parse docker host `{host}`")
    if scheme == "unix" and len(address.encode()) > _LONGEST_PATH:
        raise _unusable(f'unix socket path "{address}" is too long')
    if scheme == "npipe":
        raise _unusable("protocol not available")


def _unusable(problem: str) -> Failure:
    return Failure(f"unable to apply docker endpoint options: {problem}")


def _check_ssh(address: str) -> None:
    rest, hash_sign, fragment = address.partition("#")
    rest, question_mark, query = rest.partition("?")
    authority = rest.partition("/")[0]
    user, _, place = authority.rpartition("@")
    problem = ""
    if ":" in user:
        problem = "plain-text password is not supported"
    elif not _name_of(place):
        problem = "no host specified"
    elif question_mark and query:
        problem = f'extra query after the host: "{query}"'
    elif hash_sign and fragment:
        problem = f'extra fragment after the host: "{unquote(fragment)}"'
    if problem:
        raise Failure(f"invalid docker endpoint options: ssh host connection is not valid: {problem}")


def _name_of(place: str) -> str:
    return place.partition("]")[0][1:] if place.startswith("[") else place.partition(":")[0]


def _url_problem(text: str) -> str:
    """What Go's url.Parse finds; "" for nothing."""
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in text):
        return "net/url: invalid control character in URL"
    if text.startswith(":"):
        return "missing protocol scheme"
    scheme = _SCHEME.match(text)
    rest = text[scheme.end() :] if scheme else text
    if scheme is None and ":" in rest.partition("/")[0]:
        return "first path segment in URL cannot contain colon"
    named = re.split("[?#]", rest, maxsplit=1)[0]
    authority, slash, path = named[2:].partition("/") if named.startswith("//") else ("", "", named)
    return _authority_problem(authority.rpartition("@")[2]) or _escape_problem(slash + path)


def _authority_problem(place: str) -> str:
    if place.startswith("["):
        name, bracket, port = place.rpartition("]")
        if not bracket:
            return "missing ']' in host"
    else:
        name, colon, number = place.rpartition(":")
        name, port = (name, colon + number) if colon else (place, "")
    if port and not re.fullmatch(r":[0-9]*", port):
        return f'invalid port "{port}" after host'
    if found := _NO_HOST.search(name):
        return f'invalid character "{found[0]}" in host name'
    return _escape_problem(name)


def _escape_problem(text: str) -> str:
    found = _ESCAPE.search(text)
    return f'invalid URL escape "{found[0]}"' if found else ""
