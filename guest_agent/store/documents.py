"""JSON text of records, in one spelling."""

from __future__ import annotations

import json
from typing import Any

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False)


def render_document(plain: Any) -> str:
    """Compact JSON; what `to_plain` gives has no cycles."""
    return _ENCODER.encode(plain)


def parse_document(text: str) -> Any:
    """Raises ValueError where it isn't JSON."""
    return json.loads(text)
