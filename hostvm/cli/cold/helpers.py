"""Credential helpers: programs named docker-credential-NAME that keep credentials in a keyring.

Protocol: the registry on standard input, JSON on standard output (docker/docker-credential-helpers).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from contextlib import suppress

from hostvm.cli.failure import Failure

#: The user name that says that the secret is an identity token.
TOKEN_USER = "<token>"
#: Seconds; a keyring may ask its user for a password.
_DEADLINE = 60


def ask_helper(name: str, registry: str) -> dict[str, str]:
    """The credentials that the helper keeps for a registry; {} where it keeps none. Raises Failure."""
    code, output = _run(name, "get", registry, "getting")
    if code:
        if "credentials not found" in output:
            return {}
        raise Failure(f"error getting credentials - err: exit status {code}, out: `{output}`", 1)
    return _parse(output, registry)


def ask_all(store: str, helpers: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """By registry, what the default `store` ("" for none) keeps, and the helpers of single registries.

    As with docker's `build`, a helper that fails costs its own registries only.
    """
    found = {}
    for registry, helper in {**dict.fromkeys(_list(store) if store else (), store), **helpers}.items():
        with suppress(Failure):
            if auth := ask_helper(helper, registry):
                found[registry] = auth
    return found


def _list(name: str) -> tuple[str, ...]:
    """The registries that the helper knows."""
    with suppress(Failure):
        code, output = _run(name, "list", "", "listing")
        if not code:
            return tuple(json.loads(output))
    return ()


def store_with_helper(name: str, registry: str, username: str, password: str) -> None:
    """Have the helper keep credentials. Raises Failure."""
    body = json.dumps({"ServerURL": registry, "Username": username, "Secret": password})
    code, output = _run(name, "store", body, "storing")
    if code:
        raise Failure(f"error storing credentials - err: exit status {code}, out: `{output}`", 1)


def erase_with_helper(name: str, registry: str) -> None:
    """Have the helper forget them, if it knew any."""
    _run(name, "erase", registry, "erasing")


def _run(name: str, action: str, text: str, doing: str) -> tuple[int, str]:
    """(exit status, output) of a helper. Raises Failure where it can't be run."""
    program = f"docker-credential-{name}"
    try:
        answer = subprocess.run([program, action], input=text.encode(), capture_output=True, timeout=_DEADLINE)
    except FileNotFoundError as error:
        words = f'exec: "{program}": executable file not found in $PATH'
        hint = f"{program} is named in docker's config.json"
        raise Failure(f"error {doing} credentials - err: {words}, out: ``", 1, hint) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"error {doing} credentials - err: {error}, out: ``", 1) from error
    return answer.returncode, answer.stdout.decode(errors="replace").strip()


def _parse(output: str, registry: str) -> dict[str, str]:
    try:
        fields = json.loads(output)
    except ValueError as error:
        raise Failure(f"error getting credentials - err: {error}, out: `{output}`", 1) from error
    if fields.get("Username") == TOKEN_USER:
        return {"serveraddress": registry, "identitytoken": str(fields.get("Secret", ""))}
    return {
        "serveraddress": registry,
        "username": str(fields.get("Username", "")),
        "password": str(fields.get("Secret", "")),
    }
