"""Who we are to a registry: Basic, or a Bearer token that its token server gives.

https://distribution.github.io/distribution/spec/auth/token/ and .../oauth/. One object serves one repository.
"""

from __future__ import annotations

import base64
import json
import re
from http.client import HTTPException
from threading import Lock
from typing import Any
from urllib.parse import urlencode, urlsplit

from guest_agent.images.transport import Transport, unreachable
from guest_agent.wire.errors import PeerMisbehaved, Unauthorized
from guest_agent.wire.models import Credentials

_PARAMETER = re.compile(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
#: A token is a few kilobytes; Go's auth client stops at 1 MiB.
_MAX_TOKEN_ANSWER = 1 << 20
_CLIENT_ID = "hostvm"


def parse_challenges(values: list[str]) -> dict[str, dict[str, str]]:
    """WWW-Authenticate headers -> scheme (lower case) -> parameters."""
    challenges = {}
    for value in values:
        scheme, _, rest = value.strip().partition(" ")
        challenges[scheme.lower()] = {
            name.lower(): re.sub(r"\\(.)", r"\1", quoted) or plain for name, quoted, plain in _PARAMETER.findall(rest)
        }
    return challenges


class Authorization:
    """Knows the Authorization header for one repository. Thread-safe."""

    def __init__(
        self, transport: Transport, credentials: Credentials | None, scopes: tuple[str, ...], offline: bool = False
    ) -> None:
        """`scopes`, as "repository:team/app:pull", are asked for whatever the registry's challenge says.

        `offline`: ask for an identity token, too, which is as good as the password from then on.
        """
        self._transport = transport
        self._credentials = credentials or Credentials()
        self._scopes = scopes
        self._offline = offline
        self.identity_token = self._credentials.identity_token  #: the newest one that the token server gave
        self._lock = Lock()
        registry_token = self._credentials.registry_token
        self._header = f"Bearer {registry_token}" if registry_token else ""

    def headers(self) -> dict[str, str]:
        return {"Authorization": self._header} if self._header else {}

    def answer(self, challenges: dict[str, dict[str, str]], used: dict[str, str]) -> bool:
        """Get what a 401 asks for. False if there is nothing that we could send but what was refused (`used`).

        Raises Unauthorized or PeerMisbehaved.
        """
        with self._lock:
            if self.headers() != used:
                return True  # another thread was quicker
            if "bearer" in challenges:
                self._header = "Bearer " + self._fetch_token(challenges["bearer"])
            elif "basic" in challenges and self._credentials.username:
                self._header = self._basic()
            return self.headers() != used

    def _basic(self) -> str:
        pair = f"{self._credentials.username}:{self._credentials.password}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def _fetch_token(self, challenge: dict[str, str]) -> str:
        realm = challenge.get("realm", "")
        parts = urlsplit(realm)
        plain = parts.scheme == "http" and self._transport.allows_plain_http(parts.netloc)
        if parts.scheme != "https" and not plain:
            raise PeerMisbehaved(f"the registry names a token server that isn't safe to ask: {realm[:200]!r}")
        query = [("service", challenge.get("service", "")), *(("scope", scope) for scope in self._scopes)]
        answer = self._ask_token_server(realm, query)
        if isinstance(identity := answer.get("refresh_token"), str) and identity:
            self.identity_token = identity
        token = answer.get("token") or answer.get("access_token")
        if not isinstance(token, str) or not token or not token.isprintable():
            raise PeerMisbehaved(f'Get "{realm}": the answer holds no token')
        return token

    def _ask_token_server(self, realm: str, query: list[tuple[str, str]]) -> dict[str, Any]:
        url, headers, body, method = realm, {}, None, "GET"
        if self._credentials.identity_token:
            scopes = " ".join(self._scopes)
            grant = [("grant_type", "refresh_token"), ("refresh_token", self._credentials.identity_token)]
            body = urlencode([query[0], ("scope", scopes), *grant, ("client_id", _CLIENT_ID)]).encode()
            headers, method = {"Content-Type": "application/x-www-form-urlencoded"}, "POST"
        else:
            query += [("offline_token", "true"), ("client_id", _CLIENT_ID)] if self._offline else []
            url += ("&" if "?" in realm else "?") + urlencode([pair for pair in query if pair[1]])
            headers = {"Authorization": self._basic()} if self._credentials.username else {}
        try:
            response = self._transport.request(url, headers, body, method)
        except (OSError, HTTPException) as error:
            raise unreachable(realm, error) from error
        data = response.body(_MAX_TOKEN_ANSWER)
        if response.status in (401, 403):
            raise Unauthorized(f'Get "{realm}": unauthorized: incorrect username or password')
        return _token_answer(realm, response.status, data)


def _token_answer(realm: str, status: int, data: bytes) -> dict[str, Any]:
    if status != 200:
        raise PeerMisbehaved(f'Get "{realm}": the token server answered with status {status}')
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise PeerMisbehaved(f'Get "{realm}": the answer isn\'t valid JSON') from error
    return answer if isinstance(answer, dict) else {}
