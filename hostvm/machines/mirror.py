"""Which mirror of Debian the user wants."""

from __future__ import annotations

import tomllib

from guest_agent.wire.errors import InvalidArgument


def read_mirror(config: str) -> str:
    """`debian_mirror` of the configuration's section [bootstrap]; "" where it isn't set. Raises InvalidArgument."""
    try:
        with open(config, "rb") as file:
            section = tomllib.load(file).get("bootstrap", {})
    except FileNotFoundError:
        return ""
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InvalidArgument(f"cannot read {config}: {error}", "HOSTVM_CONFIG names another file") from error
    mirror = section.get("debian_mirror", "") if isinstance(section, dict) else None
    if not isinstance(mirror, str):
        raise InvalidArgument(f"{config}: debian_mirror in [bootstrap] is no text", 'debian_mirror = "http://…/debian"')
    return mirror
