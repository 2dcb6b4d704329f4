"""`login` and `logout`: credentials in docker's own config.json, so that both programs know them."""

from __future__ import annotations

import base64
import getpass
import sys

from guest_agent.wire.errors import HostvmError, Unauthorized
from hostvm.cli.arguments import Arguments
from hostvm.cli.credentials import config_path, find_helper, stored_auth
from hostvm.cli.docker_config import read_strictly, replace_document
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_error, write_out
from hostvm.cli.request.reference import DOCKER_HUB

_NO_TERMINAL_HINT = "give -u and --password-stdin"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context


def login(context: Context, arguments: Arguments) -> int:
    """Lets the engine try the credentials where it can, then keeps them."""
    _check_flags(arguments)
    server = _server(arguments)
    known = {} if arguments.given("username") or arguments.given("password") else _known(server)
    if not (known.get("username") and known.get("password") and _log_in_again(context, server, known)):
        username = arguments.text("username") or _ask_username(known.get("username", ""))
        _log_in(context, {"username": username, "password": _password(arguments), "serveraddress": server})
    return 0


def _check_flags(arguments: Arguments) -> None:
    """Raises Failure in docker's words."""
    if arguments.flag("password-stdin"):
        if arguments.given("password"):
            raise Failure("conflicting options: cannot specify both --password and --password-stdin")
        if not arguments.given("username"):
            raise Failure("the --password-stdin option requires --username to be set")
    for flag in ("username", "password"):
        if arguments.given(flag) and not arguments.text(flag):
            raise Failure(f"{flag} is empty")


def _known(server: str) -> dict[str, str]:
    """What is kept for the server; {} for nothing."""
    config = read_strictly(config_path())
    helper = find_helper(config, server)
    if not helper:
        return stored_auth(config, server)
    from hostvm.cli.cold.helpers import ask_helper

    try:
        return ask_helper(helper, server)
    except Failure:
        return {}  # the login goes on, and says what is wrong when it keeps the new ones


def _log_in_again(context: Context, server: str, known: dict[str, str]) -> bool:
    """With the credentials that are kept; False if the registry refuses them."""
    write_error(
        f"Authenticating with existing credentials... [Username: {known['username']}]\n\n"
        "To login with a different account, run 'hostvm logout' followed by 'hostvm login'\n\n"
    )
    try:
        _log_in(context, known)
    except HostvmError as error:
        refused = isinstance(error, Unauthorized)
        write_error("Stored credentials invalid or expired\n" if refused else f"Login did not succeed: {error}\n")
        return False
    return True


def _log_in(context: Context, auth: dict[str, str]) -> None:
    """Raises what the engine does, and Failure where they can't be kept."""
    answer = context.engine.call("POST", "/auth", auth)
    fields = answer if isinstance(answer, dict) else {}
    _keep(auth["serveraddress"], auth["username"], auth["password"], str(fields.get("IdentityToken") or ""))
    write_out(f"{fields['Status']}\n" if fields.get("Status") else "")


def _keep(server: str, username: str, password: str, token: str) -> None:
    """With the helper that config.json names, else in config.json itself. A `token` takes the password's place."""
    helper = find_helper(read_strictly(config_path()), server)
    if helper:
        from hostvm.cli.cold.helpers import TOKEN_USER, store_with_helper

        try:
            store_with_helper(helper, server, *((TOKEN_USER, token) if token else (username, password)))
        except Failure as failure:
            raise Failure(f"Error saving credentials: {failure.text}", 1) from failure
        _change(server, {})
        return
    write_error(
        f"\nWARNING! Your credentials are stored unencrypted in '{config_path()}'.\n"
        "Configure a credential helper to remove this warning. See\n"
        "https://docs.docker.com/go/credential-store/\n\n"
    )
    pair = base64.b64encode(f"{username}:{'' if token else password}".encode()).decode()
    _change(server, {"auth": pair, **({"identitytoken": token} if token else {})})


def logout(context: Context, arguments: Arguments) -> int:
    server = _server(arguments)
    helper = find_helper(read_strictly(config_path()), server)
    write_out(f"Removing login credentials for {server}\n")
    _change(server, None)
    if helper:
        from hostvm.cli.cold.helpers import erase_with_helper

        try:
            erase_with_helper(helper, server)
        except Failure as failure:
            write_error(f"WARNING: could not erase credentials:\n{server}: {failure.text}\n")
    return 0


def _server(arguments: Arguments) -> str:
    name = arguments.positional[0] if arguments.positional else ""
    host = name.partition("://")[2] or name
    return DOCKER_HUB if host.rstrip("/") in ("", "docker.io", "index.docker.io") else host.partition("/")[0]


def _ask_username(known: str) -> str:
    """The `known` one is what an empty line stands for."""
    if not sys.stdin.isatty():
        raise Failure("Error: Cannot perform an interactive login from a non TTY device", 1, _NO_TERMINAL_HINT)
    return input(f"Username ({known}): " if known else "Username: ").strip() or known


def _password(arguments: Arguments) -> str:
    if arguments.flag("password-stdin"):
        if password := sys.stdin.read().rstrip("\r\n"):
            return password
        raise Failure("password is empty")
    if arguments.given("password"):
        write_error("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
        return arguments.text("password")
    if not sys.stdin.isatty():
        raise Failure("Error: Cannot perform an interactive login from a non TTY device", 1, _NO_TERMINAL_HINT)
    return getpass.getpass()


def _change(server: str, entry: dict[str, str] | None) -> None:
    """Writes (or with None removes) an entry of `auths`. Raises Failure."""
    path = config_path()
    config = read_strictly(path)
    auths = config.setdefault("auths", {})
    assert isinstance(auths, dict)
    auths.pop(server, None)
    if entry is not None:
        auths[server] = entry
    replace_document(path, config)
