"""Sizes in texts, as docker's command line reads them."""

#: units.RAMInBytes: binary multiples, with or without "b" or "ib" behind.
_SHIFT = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}


def parse_size(text: str) -> int:
    """`512m` -> bytes. Raises ValueError."""
    end = len(text)
    while end and not (text[end - 1].isdigit() or text[end - 1] == "."):
        end -= 1
    number = text[:end].rstrip(" ")
    try:
        if not number or not number.replace(".", "", 1).isdigit() or not number.isascii():
            raise ValueError
        value = float(number)
    except ValueError:
        raise ValueError(f"invalid size: '{text}'") from None
    suffix = text[end:].strip(" ").lower()
    shift = _SHIFT.get(suffix[:1])
    if shift is None or suffix[1:] not in ("", "b", "ib") or suffix == "bb":
        raise ValueError(f"invalid suffix: '{text[end:].strip(' ')}'")
    return int(value * (1 << shift))
