"""Headers that carry credentials, base64 of JSON: X-Registry-Auth for one registry, X-Registry-Config for several.

Both base64 alphabets are taken, with or without padding, since clients use either.
"""

from __future__ import annotations

import base64

from guest_agent.api.fields import Fields, read_fields
from guest_agent.api.json_bodies import parse_json
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import Credentials


def parse_credentials(header: str) -> Credentials | None:
    """X-Registry-Auth; None if it says nothing, or what can't be read: dockerd ignores that (moby image_routes.go)."""
    try:
        credentials = _read(read_fields(_decode(header)))
    except (ValueError, InvalidArgument):
        return None
    return credentials if credentials != Credentials() else None


def parse_registry_config(header: str) -> dict[str, Credentials]:
    """X-Registry-Config: {registry: credentials}, registries as the client writes them. Raises InvalidArgument."""
    if not header:
        return {}
    try:
        values = _decode(header) or {}
    except (ValueError, InvalidArgument) as error:
        raise InvalidArgument(f"invalid X-Registry-Config header: {error}") from error
    if not isinstance(values, dict):
        raise InvalidArgument("invalid X-Registry-Config header: expected an object")
    return {str(name): _read(read_fields(value)) for name, value in values.items()}


def _decode(header: str) -> object:
    """Raises ValueError (no base64), InvalidArgument (no JSON)."""
    text = header.strip().translate(str.maketrans("+/", "-_")).rstrip("=")
    return parse_json(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))


def _read(fields: Fields) -> Credentials:
    return Credentials(
        username=fields.text("username"),
        password=fields.text("password"),
        identity_token=fields.text("identitytoken"),
        registry_token=fields.text("registrytoken"),
    )
