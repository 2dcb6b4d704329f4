"""The stream to the engine: the hot half, which only connects. What starts an engine is imported when one must be."""

from _socket import socket as Socket

from guest_agent.wire.errors import Forbidden, InvalidArgument, Unavailable, Unsupported
from hostvm.client.connection import connect_unix
from hostvm.settings import Settings


def connect(settings: Settings) -> Socket:
    """A stream to the engine of these settings; a native engine is started where there is none.

    Raises Unavailable, Forbidden, Unsupported, InvalidArgument.
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
        raise unreachable(settings, error) from error
    from hostvm.machines.native import start

    start(settings)
    return connect_unix(settings.socket)


def check(settings: Settings) -> None:
    """Refuses what no driver here can do."""
    if settings.host and not settings.host.startswith("unix://"):
        raise InvalidArgument(
            f"unable to parse docker host `{settings.host}`", "HOSTVM_HOST takes unix:///path/of/engine.sock"
        )
    if settings.machine != "native":
        raise Unsupported(
            f"no machine named {settings.machine!r}", "there is only the machine 'native' here: leave -m out"
        )


def unreachable(settings: Settings, error: OSError) -> Unavailable:
    """Nobody answers at the socket."""
    message = f"Cannot connect to the hostvm engine at unix://{settings.socket}. Is the engine running?"
    return Unavailable(message, f"{error.strerror}; `hostvm doctor` looks for the cause")


def forbidden(settings: Settings) -> Forbidden:
    """The engine is there, and not for this user."""
    return Forbidden(
        f"permission denied while trying to connect to the hostvm engine at unix://{settings.socket}",
        "use sudo, or have yourself added to the engine's group: sudo usermod -aG hostvm $USER (then log in again)",
    )
