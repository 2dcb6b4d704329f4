"""Credential helpers: programs named docker-credential-NAME that keep credentials in a keyring.

Protocol: the registry on standard input, JSON on standard output (docker/docker-credential-helpers).
"""

from __future__ import annotations

import json
import subprocess

from hostvm.cli.failure import Failure

#: Seconds; a keyring may ask its user for a password.
_DEADLINE = 60


def ask_helper(name: str, registry: str) -> dict[str, str]:
    """The credentials that the helper keeps for a registry; {} where it keeps none. Raises Failure."""
    program = f"docker-credential-{name}"
    try:
        answer = subprocess.run([program, "get"], input=registry.encode(), capture_output=True, timeout=_DEADLINE)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(
            f"error getting credentials - {error}", 1, f"{program} is named in docker's config.json"
        ) from error
    output = answer.stdout.decode(errors="replace").strip()
    if answer.returncode:
        if "credentials not found" in output:
            return {}
        raise Failure(f"error getting credentials - err: exit status {answer.returncode}, out: `{output}`", 1)
    return _parse(output, registry)


def _parse(output: str, registry: str) -> dict[str, str]:
    """The user name `<token>` says that the secret is an identity token."""
    fields = json.loads(output)
    if fields.get("Username") == "<token>":
        return {"serveraddress": registry, "identitytoken": str(fields.get("Secret", ""))}
    return {
        "serveraddress": registry,
        "username": str(fields.get("Username", "")),
        "password": str(fields.get("Secret", "")),
    }
