"""Images."""

from guest_agent.wire.errors import HostvmError
from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure, refused
from hostvm.cli.output import write_error, write_out
from hostvm.cli.query import escape, filters, with_query
from hostvm.client.jsontext import dumps, loads_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostvm.cli.main import Context


def ls(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.listing import show
    from hostvm.cli.render.image_view import IMAGES, split_tags

    wanted = arguments.positional[0] if arguments.positional else ""
    records = context.engine.records(
        with_query("/images/json", all=arguments.flag("all"), filters=_filters(arguments, wanted))
    )
    digests = arguments.flag("digests")
    rows = split_tags(records, wanted, digests, digests or "{{.Digest}}" in arguments.text("format"))
    columns = ("Repository", "Tag", "Digest", "ID", "CreatedSince", "Size")
    return show(IMAGES, rows, arguments, columns if digests else (), arguments.flag("no-trunc"))


def _filters(arguments: Arguments, wanted: str) -> str:
    text = filters(arguments)
    if not wanted:
        return text
    return dumps({**(loads_object(text) if text else {}), "reference": [wanted]})


def pull(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.pulling import pull as pull_image
    from hostvm.cli.request.reference import full_name, with_tag

    name, everything = arguments.positional[0], arguments.flag("all-tags")
    if everything and with_tag(name) == name:
        raise Failure("tag can't be used with --all-tags/-a", 1)
    if not everything and with_tag(name) != name and not arguments.flag("quiet"):
        write_out("Using default tag: latest\n")
    pull_image(
        context, name, arguments.text("platform"), arguments.flag("quiet"), on_stderr=False, everything=everything
    )
    write_out((full_name(name).rpartition(":")[0] if everything else full_name(name)) + "\n")
    return 0


def tag(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.render.image_view import split_tag

    source, target = arguments.positional
    repository, name = split_tag(target)
    path = with_query(f"/images/{escape(source)}/tag", repo=repository, tag="" if name == "<none>" else name)
    context.engine.call("POST", path)
    return 0


def rm(context: "Context", arguments: Arguments) -> int:
    code = 0
    parameters = {"force": arguments.flag("force"), "noprune": arguments.flag("no-prune")}
    for name in arguments.positional:
        try:
            deleted = context.engine.call("DELETE", with_query(f"/images/{escape(name)}", **parameters))
        except HostvmError as error:
            write_error(refused(error).text + "\n")
            code = 0 if parameters["force"] and error.kind == "not-found" else 1
            continue
        for step in deleted if isinstance(deleted, list) else []:
            write_out("".join(f"{key}: {value}\n" for key, value in step.items()))
    return code


def load(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.progress import open_progress
    from hostvm.cli.pulling import stream_error

    quiet = arguments.flag("quiet")
    progress = open_progress(False, on_stderr=False)
    try:
        for record in context.engine.upload(
            "/images/load?quiet=1" if quiet else "/images/load", _read(arguments.text("input"))
        ):
            if "error" in record:
                raise stream_error(record)
            progress.take(record)
    finally:
        progress.close()
    return 0


def _read(path: str) -> "Iterator[bytes]":
    """The archive's bytes, from a file or from standard input. Raises Failure."""
    import sys

    if not path and sys.stdin.isatty():
        raise Failure("requested load from stdin, but stdin is empty", 1, "name a file with -i, or pipe one in")
    try:
        file = open(path, "rb") if path else sys.stdin.buffer  # noqa: SIM115
    except OSError as error:
        raise Failure(f"open {path}: {(error.strerror or '').lower()}", 1) from error
    with file:
        while data := file.read(1 << 18):
            yield data


def history(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.listing import show
    from hostvm.cli.render.image_view import HISTORY

    records = context.engine.records(f"/images/{escape(arguments.positional[0])}/history")
    for_people = arguments.flag("human")
    rows = [{**record, "_Exact": not for_people} for record in records]
    columns = () if for_people else ("ID", "CreatedAt", "CreatedBy", "Size", "Comment")
    return show(HISTORY, rows, arguments, columns, arguments.flag("no-trunc"))


def commit(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.render.image_view import split_tag

    container, *target = arguments.positional
    repository, name = split_tag(target[0]) if target else ("", "")
    path = with_query(
        "/commit", container=container, repo=repository, tag="" if name == "<none>" else name,
        author=arguments.text("author"), comment=arguments.text("message"),
        pause="1" if arguments.flag("pause") else "0",
    )  # fmt: skip
    path += "".join(f"&changes={escape(change)}" for change in arguments.texts("change"))
    answer = context.engine.call("POST", path, {})
    write_out(f"{answer.get('Id') if isinstance(answer, dict) else ''}\n")
    return 0
