"""Credentials for registries, read from docker's own config.json.

`run` asks on its hot path, where the usual answer is that there are none: one failed `open`. Credential helpers are
programs and take their time; they are asked only where the image has to be pulled.
"""

import os

from hostvm.cli.failure import Failure
from hostvm.cli.output import write_error
from hostvm.cli.request.reference import registry_of
from hostvm.client.jsontext import dumps, loads_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from hostvm.cli.main import Context

    Config = dict[str, object]


def config_path() -> str:
    """Docker's config.json: in $DOCKER_CONFIG, or in ~/.docker."""
    return (os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")) + "/config.json"


def read_config() -> "Config":
    """What docker's config.json says; {} where there is none, or with a warning where it can't be read."""
    try:
        with open(config_path(), "rb") as file:
            return loads_object(file.read())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        write_error(f"WARNING: Error parsing config file ({config_path()}): {error}\n")
        return {}


def registry_auth(context: "Context", image: str, pulling: bool = False) -> str:
    """The X-Registry-Auth for an image's registry; "" where there are no credentials.

    `pulling` says that the image will be pulled for certain; else the engine is asked before a helper is started.
    """
    config = read_config()
    if not config:
        return ""
    registry = registry_of(image)
    helper = find_helper(config, registry)
    if helper:
        if not pulling and _have_image(context, image):
            return ""
        from hostvm.cli.cold.helpers import ask_helper

        try:
            return encode_auth(ask_helper(helper, registry))
        except Failure as failure:  # most images want no credentials: a keyring of another machine's costs none of them
            write_error(f"WARNING: {failure.text}\n")
            return ""
    return encode_auth(stored_auth(config, registry))


def _have_image(context: "Context", image: str) -> bool:
    from guest_agent.wire.errors import HostvmError
    from hostvm.cli.query import escape

    try:
        context.engine.find(f"/images/{escape(image)}/json")
    except HostvmError:
        return False
    return True


def registry_config() -> str:
    """The X-Registry-Config of a build: what is stored for every registry; "" where there is nothing."""
    config = read_config()
    known = {}
    auths = config.get("auths")
    for key, entry in auths.items() if isinstance(auths, dict) else ():
        if isinstance(entry, dict) and len(auth := _decode_entry(entry, str(key))) > 1:
            known[str(key)] = auth
    store, helpers = str(config.get("credsStore") or ""), config.get("credHelpers")
    if store or helpers:
        from hostvm.cli.cold.helpers import ask_all

        known |= ask_all(store, helpers if isinstance(helpers, dict) else {})
    return encode_auth(known)


def find_helper(config: "Config", registry: str) -> str:
    """The helper that keeps this registry's credentials; "" for none."""
    helpers = config.get("credHelpers")
    if isinstance(helpers, dict) and registry in helpers:
        return str(helpers[registry])
    return str(config.get("credsStore") or "")


def stored_auth(config: "Config", registry: str) -> dict[str, str]:
    """The entry of `auths` for a registry, decoded; {} without one."""
    auths = config.get("auths")
    if not isinstance(auths, dict):
        return {}
    for key, entry in auths.items():
        if isinstance(entry, dict) and (key == registry or _host(key) == registry):
            return _decode_entry(entry, registry)
    return {}


def _host(key: str) -> str:
    """Docker takes keys with a scheme and a path too."""
    return key.partition("://")[2].partition("/")[0] if "://" in key else key.partition("/")[0]


def _decode_entry(entry: "Config", registry: str) -> dict[str, str]:
    from binascii import Error, a2b_base64

    auth = {"serveraddress": registry}
    if entry.get("auth"):
        try:
            user, _, password = a2b_base64(str(entry["auth"]), strict_mode=True).decode(errors="replace").partition(":")
        except (Error, ValueError) as error:  # ValueError: it isn't ASCII
            write_error(f"WARNING: Error parsing config file ({config_path()}): auths of {registry}: {error}\n")
            return {}
        auth |= {"username": user, "password": password.rstrip("\0")}
    for source, target in (("username", "username"), ("password", "password"), ("identitytoken", "identitytoken")):
        if entry.get(source):
            auth[target] = str(entry[source])
    return auth


def encode_auth(auth: "Mapping[str, object]") -> str:
    """URL-safe base64 of the JSON, as the API wants it; "" for nothing."""
    if not auth:
        return ""
    from binascii import b2a_base64

    return b2a_base64(dumps(auth).encode(), newline=False).decode().replace("+", "-").replace("/", "_")
