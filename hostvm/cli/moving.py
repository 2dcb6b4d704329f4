"""`image import-from`: another engine's images, by the API that both have: its `save` into our `load`."""

from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_out
from hostvm.cli.pulling import stream_error
from hostvm.cli.query import escape
from hostvm.client.connection import Engine, connect_unix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context

_STARTED_BY = {
    "docker": "start it, or name its socket: hostvm image import-from /path/docker.sock",
    "podman": "`systemctl --user start podman.socket`, or `podman system service` and its socket's path here",
}


def import_from(context: "Context", arguments: Arguments) -> int:
    """One archive an image, so that the two engines never hold more than one between them."""
    source, *names = arguments.positional
    other = _open(source)
    for name in names or _names(other, arguments.flag("all")):
        chunks = other.open("GET", f"/images/{escape(name)}/get").chunks()
        for record in context.engine.upload("/images/load?quiet=1", chunks):
            if "error" in record:
                raise stream_error(record)
            write_out(str(record.get("stream", "")))
    return 0


def _names(other: Engine, everything: bool) -> list[str]:
    if not everything:
        raise Failure("no image was named", 1, "name some, or take --all of them")
    tags = [tag for image in other.records("/images/json") for tag in _tags(image)]
    return sorted(tags)


def _tags(image: "dict[str, object]") -> list[str]:
    tags = image.get("RepoTags")
    return [str(tag) for tag in tags if tag != "<none>:<none>"] if isinstance(tags, list) else []


def _open(source: str) -> Engine:
    """The first of its sockets that answers. Raises Failure."""
    paths = sockets_of(source)
    path = next((path for path in paths if _answers(path)), "")
    if not path:
        raise Failure(f"no engine answers at {' or '.join(paths)}", 1, _STARTED_BY.get(source, ""))
    return Engine(lambda: connect_unix(path), api="")


def _answers(path: str) -> bool:
    try:
        connect_unix(path).close()
    except OSError:
        return False
    return True


def sockets_of(source: str) -> list[str]:
    """Where an engine of that name listens; a path is itself."""
    from posix import environ, getuid

    run = (environ.get(b"XDG_RUNTIME_DIR") or f"/run/user/{getuid()}".encode()).decode("utf-8", "surrogateescape")
    if source == "docker":
        return ["/var/run/docker.sock", f"{run}/docker.sock"]
    if source == "podman":
        system = ["/run/podman/podman.sock"]
        return system if getuid() == 0 else [f"{run}/podman/podman.sock", *system]
    return [source.removeprefix("unix://")]
