"""The errors that cross the border, transport-free.

Each has a message of one line and may have a hint: what the user can do next. `kind` is the name that travels in
JSON beside Docker's `message`. HTTP statuses and exit codes follow from two tables at the end, and nowhere else.
This module is on the command line's hot path: it imports nothing.
"""


class HostvmError(Exception):
    """Base of every error that a user may see. `blame` tells whose fault it is: user, peer or host."""

    kind = "internal"
    blame = "host"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidArgument(HostvmError):
    """The request can't be understood or contradicts itself."""

    kind = "invalid-argument"
    blame = "user"


class NotFound(HostvmError):
    """The named container, image, network, volume or path isn't there."""

    kind = "not-found"
    blame = "user"


class Conflict(HostvmError):
    """The request is sound, but not in the present state: name taken, container running."""

    kind = "conflict"
    blame = "user"


class NotModified(HostvmError):
    """The state asked for is the state it has (Docker answers 304)."""

    kind = "not-modified"
    blame = "user"


class Unauthorized(HostvmError):
    """A registry refused the credentials, or asked for some."""

    kind = "unauthorized"
    blame = "user"


class Forbidden(HostvmError):
    """The caller may not do this."""

    kind = "forbidden"
    blame = "user"


class Unsupported(HostvmError):
    """What is asked for isn't implemented here, or can't be done on this kernel or machine."""

    kind = "unsupported"
    blame = "user"


class AddressInUse(HostvmError):
    """A port to publish is taken on the host."""

    kind = "address-in-use"
    blame = "user"


class CommandNotFound(HostvmError):
    """The container's command doesn't exist in its file system (exit code 127)."""

    kind = "command-not-found"
    blame = "user"


class CommandNotExecutable(HostvmError):
    """The container's command exists but can't be executed (exit code 126)."""

    kind = "command-not-executable"
    blame = "user"


class Unavailable(HostvmError):
    """A peer or the engine can't be reached at present; trying again may help."""

    kind = "unavailable"
    blame = "peer"


class PeerMisbehaved(HostvmError):
    """A peer (registry, client) broke its protocol: wrong digest, truncated transfer, malformed answer."""

    kind = "peer-misbehaved"
    blame = "peer"


class DataDamaged(HostvmError):
    """Something of ours on disk can't be read; it is set aside, never deleted."""

    kind = "data-damaged"


class HostFailed(HostvmError):
    """The host refused: a system call, a full disk, a missing program."""

    kind = "host-failed"


class Internal(HostvmError):
    """A bug of hostvm's own."""

    kind = "internal"


#: kind -> HTTP status, as dockerd answers. CommandNotFound is 400 there as well.
HTTP_STATUS = {
    "invalid-argument": 400,
    "command-not-found": 400,
    "command-not-executable": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not-found": 404,
    "conflict": 409,
    "not-modified": 304,
    "unsupported": 501,
    "unavailable": 503,
    "address-in-use": 500,
    "peer-misbehaved": 500,
    "data-damaged": 500,
    "host-failed": 500,
    "internal": 500,
}

#: kind -> exit code of `run`, `create`, `start` and `exec`; whatever is not listed is 125 there, as with docker.
RUN_EXIT_CODE = {"command-not-found": 127, "command-not-executable": 126}

#: The class for each kind, for the client that reads an error back.
ERROR_CLASSES = {
    error_class.kind: error_class
    for error_class in (
        InvalidArgument, NotFound, Conflict, NotModified, Unauthorized, Forbidden, Unsupported, AddressInUse,
        CommandNotFound, CommandNotExecutable, Unavailable, PeerMisbehaved, DataDamaged, HostFailed, Internal,
    )
}  # fmt: skip


def error_from(kind: str, message: str, hint: str = "") -> HostvmError:
    """The error that a peer described; a kind that we don't know is an `Internal`."""
    return ERROR_CLASSES.get(kind, Internal)(message, hint)


def error_record(error: HostvmError) -> dict[str, object]:
    """{"kind", "message", "hint"}: how an error crosses a border."""
    return {"kind": error.kind, "message": error.message, "hint": error.hint}


def error_of_record(record: object) -> HostvmError:
    """The error that a peer described so; whatever it sent makes one."""
    fields = record if isinstance(record, dict) else {}
    return error_from(*(str(fields.get(name) or "") for name in ("kind", "message", "hint")))
