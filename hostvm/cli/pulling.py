"""Pull an image, and tell about it."""

from guest_agent.wire.errors import HostvmError, PeerMisbehaved, error_from
from hostvm.cli.credentials import registry_auth
from hostvm.cli.progress import open_progress
from hostvm.cli.query import with_query
from hostvm.cli.request.reference import with_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context


def pull(context: "Context", image: str, platform: str, quiet: bool, on_stderr: bool, everything: bool = False) -> None:
    """A tag, or `everything` that the repository has.

    Raises what the registry or the engine refused with, also in the middle of the stream.
    """
    name = image if everything else with_tag(image)
    auth = registry_auth(context, image, pulling=True)
    headers = f"X-Registry-Auth: {auth}\r\n" if auth else ""
    path = with_query("/images/create", fromImage=name, platform=platform)
    progress = open_progress(quiet, on_stderr)
    try:
        for record in context.engine.lines("POST", path, headers):
            if "error" in record or "errorDetail" in record:
                raise stream_error(record)
            progress.take(record)
    finally:
        progress.close()


def stream_error(record: dict[str, object]) -> HostvmError:
    """The error that came as a line of a progress stream."""
    detail = record.get("errorDetail")
    fields = detail if isinstance(detail, dict) else {}
    message = str(fields.get("message") or record.get("error"))
    kind = str(fields.get("kind") or PeerMisbehaved.kind)
    return error_from(kind, message, str(fields.get("hint") or ""))
