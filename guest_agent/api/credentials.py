"""The X-Registry-Auth header: base64 of JSON."""

from __future__ import annotations

import base64
import binascii

from guest_agent.api.fields import read_fields
from guest_agent.api.json_bodies import parse_json
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import Credentials


def parse_credentials(header: str) -> Credentials | None:
    """None if it says nothing. Both base64 alphabets, with or without padding. Raises InvalidArgument."""
    if not header:
        return None
    text = header.strip().translate(str.maketrans("+/", "-_")).rstrip("=")
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        body = read_fields(parse_json(decoded))
    except (binascii.Error, ValueError, InvalidArgument) as error:
        raise InvalidArgument(f"invalid X-Registry-Auth header: {error}") from error
    credentials = Credentials(
        username=body.text("username"),
        password=body.text("password"),
        identity_token=body.text("identitytoken"),
        registry_token=body.text("registrytoken"),
    )
    return credentials if credentials != Credentials() else None
