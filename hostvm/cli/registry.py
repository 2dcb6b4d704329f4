"""`login` and `logout`: credentials in docker's own config.json, so that both programs know them."""

from __future__ import annotations

import base64
import getpass
import sys

from hostvm.cli.arguments import Arguments
from hostvm.cli.credentials import config_path, find_helper
from hostvm.cli.docker_config import read_strictly, replace_document
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_error, write_out
from hostvm.cli.request.reference import DOCKER_HUB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context


def login(context: Context, arguments: Arguments) -> int:
    """Lets the engine try the credentials where it can, then keeps them."""
    server = _server(arguments)
    username = arguments.text("username") or _ask("Username: ")
    password = _password(arguments)
    body = {"username": username, "password": password, "serveraddress": server}
    answer = context.engine.call("POST", "/auth", body)
    status = answer.get("Status") if isinstance(answer, dict) else ""
    _keep(server, username, password)
    write_out(f"{status}\n" if status else "")
    return 0


def _keep(server: str, username: str, password: str) -> None:
    """With the helper that config.json names, else in config.json itself."""
    helper = find_helper(read_strictly(config_path()), server)
    if helper:
        from hostvm.cli.cold.helpers import store_with_helper

        store_with_helper(helper, server, username, password)
        _change(server, {})
        return
    write_error(
        f"\nWARNING! Your credentials are stored unencrypted in '{config_path()}'.\n"
        "Configure a credential helper to remove this warning. See\n"
        "https://docs.docker.com/go/credential-store/\n\n"
    )
    pair = base64.b64encode(f"{username}:{password}".encode()).decode()
    _change(server, {"auth": pair})


def logout(context: Context, arguments: Arguments) -> int:
    server = _server(arguments)
    helper = find_helper(read_strictly(config_path()), server)
    known = _change(server, None)
    if helper:
        from hostvm.cli.cold.helpers import erase_with_helper

        known = erase_with_helper(helper, server) or known
    write_out(f"Removing login credentials for {server}\n" if known else f"Not logged in to {server}\n")
    return 0


def _server(arguments: Arguments) -> str:
    name = arguments.positional[0] if arguments.positional else ""
    host = name.partition("://")[2] or name
    return DOCKER_HUB if host.rstrip("/") in ("", "docker.io", "index.docker.io") else host.partition("/")[0]


def _ask(prompt: str) -> str:
    if not sys.stdin.isatty():
        raise Failure(
            "Error: Cannot perform an interactive login from a non TTY device", 1, "give -u and --password-stdin"
        )
    return input(prompt)


def _password(arguments: Arguments) -> str:
    if arguments.flag("password-stdin"):
        return sys.stdin.read().rstrip("\r\n")
    if arguments.given("password"):
        write_error("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
        return arguments.text("password")
    if not sys.stdin.isatty():
        raise Failure("Error: Cannot perform an interactive login from a non TTY device", 1, "give --password-stdin")
    return getpass.getpass()


def _change(server: str, entry: dict[str, str] | None) -> bool:
    """Writes (or with None removes) an entry of `auths`; whether it was there. Raises Failure."""
    path = config_path()
    config = read_strictly(path)
    auths = config.setdefault("auths", {})
    assert isinstance(auths, dict)
    known = auths.pop(server, None) is not None
    if entry is not None:
        auths[server] = entry
    replace_document(path, config)
    return known
