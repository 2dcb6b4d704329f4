"""What a build is given beside its context: secrets, ssh agents, and further contexts."""

import os

from hostvm.cli.build_context import Context, pack, pack_file, read_text
from hostvm.cli.failure import Failure
from hostvm.cli.query import escape
from hostvm.cli.request.build import parse_fields
from hostvm.client.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostvm.cli.arguments import Arguments

_IGNORE = ".dockerignore"
#: BuildKit's limit.
_LARGEST_SECRET = 500 << 10


class Beside:
    """`parameters` are what the engine must be told of it; what is sent is in `parts`, of which there may be none."""

    def __init__(self, arguments: "Arguments") -> None:
        """Raises Failure for what isn't there."""
        self._secrets = dict(_read_secret(text) for text in arguments.texts("secret"))
        self._named, images = _named_contexts(arguments.texts("build-context"))
        #: The sockets of ssh agents by their ids.
        self.agents = dict(_find_agent(text) for text in arguments.texts("ssh"))
        self.is_sent = bool(self._secrets or self._named)
        self.has_contexts = bool(self._named)
        self.parameters: dict[str, object] = {
            "hostvm-images": dumps(images) if images else "",
            "hostvm-parts": self.is_sent,
        }

    def parts(self) -> "Iterator[bytes]":
        """Of the body's tar, without its end."""
        for name, data in self._secrets.items():
            yield pack_file(f"secret/{escape(name)}", data)
        for name, folder in self._named.items():
            yield from pack(Context(folder, os.path.join(folder, _IGNORE)).entries(), f"named/{escape(name)}/")


def _read_secret(text: str) -> "tuple[str, bytes]":
    """`id=NAME` with `src=FILE` or `env=NAME`; with neither, the variable of its name, else the file."""
    fields = parse_fields(text, "--secret")
    identity = fields.get("id", "")
    if not identity:
        raise Failure(f"failed to parse --secret {text}: the id is missing", 125)
    path = fields.get("src") or fields.get("source") or ""
    variable = fields.get("env") or ("" if path or identity not in os.environ else identity)
    if variable:
        if variable not in os.environ:
            raise Failure(f"failed to parse --secret {text}: the variable {variable} isn't set", 1)
        data = os.environb[os.fsencode(variable)]
    else:
        data = read_text(os.path.expanduser(path or identity), f"failed to stat secret {identity}: open")
    if len(data) > _LARGEST_SECRET:
        raise Failure(f"invalid secret size {len(data)}: at most {_LARGEST_SECRET} bytes are allowed", 1)
    return identity, data


def _named_contexts(words: "list[str]") -> "tuple[dict[str, str], dict[str, str]]":
    """Folders, and images, by the names that the Dockerfile uses."""
    folders, images = {}, {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise Failure(f"invalid context value: {word}, expected key=value", 125)
        if value.startswith("docker-image://"):
            images[name.lower()] = value.removeprefix("docker-image://")
        else:
            folders[name.lower()] = value
    return folders, images


def _find_agent(text: str) -> "tuple[str, str]":
    identity, equals, path = text.partition("=")
    socket = path if equals else os.environ.get("SSH_AUTH_SOCK", "")
    if not socket:
        raise Failure(
            f"invalid empty ssh agent socket for {identity}",
            1,
            "start an agent, or name its socket: --ssh default=PATH",
        )
    return identity or "default", os.path.abspath(socket)
