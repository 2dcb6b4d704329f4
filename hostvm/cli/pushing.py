"""`push`."""

from hostvm.cli.arguments import Arguments
from hostvm.cli.credentials import encode_auth, registry_auth
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_out
from hostvm.cli.progress import open_progress
from hostvm.cli.pulling import stream_error
from hostvm.cli.query import escape, with_query
from hostvm.cli.render.image_view import split_tag
from hostvm.cli.request.reference import full_name, with_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context


def push(context: "Context", arguments: Arguments) -> int:
    name, quiet = arguments.positional[0], arguments.flag("quiet")
    everything = arguments.flag("all-tags")
    if everything and with_tag(name) == name:
        raise Failure("tag can't be used with --all-tags/-a", 1)
    if not everything and with_tag(name) != name and not quiet:
        write_out("Using default tag: latest\n")
    repository, tag = (name, "") if everything else split_tag(with_tag(name))
    # Docker's engine wants the header even where it says nothing.
    auth = registry_auth(context, name, pulling=True) or encode_auth({"serveraddress": ""})
    path = with_query(f"/images/{escape(repository)}/push", tag=tag, compression=arguments.text("compression-format"))
    progress = open_progress(quiet, on_stderr=False)
    try:
        for record in context.engine.lines("POST", path, f"X-Registry-Auth: {auth}\r\n"):
            if "error" in record or "errorDetail" in record:
                raise stream_error(record)
            if "aux" not in record:
                progress.take(record)
    finally:
        progress.close()
    if quiet:
        write_out((name if everything else full_name(name)) + "\n")
    return 0
