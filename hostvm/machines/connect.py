"""The stream to the engine: the hot half, which only connects. What starts an engine is imported when one must be."""

from _socket import socket as Socket

from guest_agent.wire.errors import Forbidden, InvalidArgument, Unavailable
from hostvm.client.connection import connect_unix
from hostvm.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


#: How a stage begins that isn't one: what the user should know of this start.
NOTE = "note: "


def connect(settings: Settings, hear: "Callable[[str], None] | None" = None) -> Socket:
    """A stream to the engine of these settings; a native engine or a VM machine is started where there is none.

    `hear` gets the stages of a machine's start. Raises Unavailable, Forbidden, Unsupported, InvalidArgument, and what
    keeps a machine from starting.
    """
    check(settings)
    try:
        return connect_unix(settings.socket)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        if settings.host:
            raise unreachable(settings, error) from error
    except PermissionError as error:
        raise forbidden(settings) from error
    except OSError as error:
        raise (unreachable(settings, error) if error.errno else too_long(settings)) from error
    start(settings, hear)
    return connect_unix(settings.socket)


def start(settings: Settings, hear: "Callable[[str], None] | None" = None) -> None:
    """Brings up whatever the machine is."""
    if settings.is_native:
        from hostvm.machines import native

        native.start(settings)
    else:
        from hostvm.machines.vm import start as vm

        vm.start(settings, hear or (lambda _stage: None))


def check(settings: Settings) -> None:
    """Refuses what no driver here can do."""
    if settings.host and not settings.host.startswith("unix://"):
        raise InvalidArgument(
            f"unable to parse docker host `{settings.host}`", "HOSTVM_HOST takes unix:///path/of/engine.sock"
        )


def unreachable(settings: Settings, error: OSError) -> Unavailable:
    """Nobody answers at the socket."""
    message = f"Cannot connect to the hostvm engine at unix://{settings.socket}. Is the engine running?"
    return Unavailable(message, f"{error.strerror}; `hostvm doctor` looks for the cause")


def too_long(settings: Settings) -> InvalidArgument:
    """The kernel doesn't take such a path (unix(7)); Python says so without an errno."""
    return InvalidArgument(
        f"the path of the engine's socket is too long: {settings.socket}",
        "HOSTVM_RUN names a shorter folder, such as /tmp/hostvm-$USER",
    )


def forbidden(settings: Settings) -> Forbidden:
    """The engine is there, and not for this user."""
    hint = "use sudo, or have yourself added to the engine's group: sudo usermod -aG hostvm $USER (then log in again)"
    if not settings.is_native and not settings.host:
        hint = "it is another user's machine; HOSTVM_DATA and HOSTVM_RUN, unset, name folders of your own"
    message = f"permission denied while trying to connect to the hostvm engine at unix://{settings.socket}"
    return Forbidden(message, hint)
