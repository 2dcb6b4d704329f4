"""The keys by which a client leaves a container running: `ctrl-p,ctrl-q` unless it says otherwise.

Sans-IO. A prefix of the sequence is held back until the next byte tells whether it goes on (docker: pkg/term/proxy).
"""

from __future__ import annotations

from guest_agent.wire.errors import InvalidArgument

DEFAULT_KEYS = "ctrl-p,ctrl-q"


def parse_detach_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q` or single characters, separated by commas; "" is the default."""
    keys = [_find_key(key) for key in (text or DEFAULT_KEYS).split(",")]
    if None in keys:
        raise InvalidArgument(f"Invalid detach keys ({text}) provided")
    return bytes(key for key in keys if key is not None)


def _find_key(key: str) -> int | None:
    if len(key) == 1 and key.isascii():
        return ord(key)
    if key == "DEL":
        return 0x7F
    letter = key.removeprefix("ctrl-")
    if len(letter) == 1 and letter != key and ((letter.isascii() and letter.islower()) or letter in "@[\\]^_"):
        return ord(letter.upper()) & 0x1F
    return None


class DetachScanner:
    """Lets input pass until the sequence has been typed."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What may go on to the process, and whether the client has detached."""
        passed = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    return bytes(passed), True
                continue
            passed += self._keys[: self._matched]
            self._matched = 1 if byte == self._keys[0] else 0
            if not self._matched:
                passed.append(byte)
        return bytes(passed), False
