"""What isn't one noun's: info, version, env, completion."""

from hostvm import __version__
from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_error, write_out
from hostvm.client.connection import API
from hostvm.client.jsontext import compact

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context

    Record = dict[str, object]


def version(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.render.system_text import version_text

    client: Record = {"Version": __version__, "ApiVersion": API.strip("/v"), "Os": _os(), "Arch": _arch()}
    record: Record = {"Client": client, "Server": None}
    failure = None
    try:
        record["Server"] = context.engine.find("/version")
    except Failure as caught:
        failure = caught
    template = arguments.text("format")
    write_out(_formatted(record, template) if template else version_text(record))
    if failure:
        raise failure
    return 0


def _os() -> str:
    import sys

    return sys.platform


def _arch() -> str:
    from posix import uname

    machine = uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _formatted(record: "Record", template: str) -> str:
    if template == "json":
        return compact(record) + "\n"
    from hostvm.cli.render.formatted import render_record

    return render_record(record, template) + "\n"


def info(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.render.system_text import info_text

    record = context.engine.find("/info")
    template = arguments.text("format")
    if template:
        write_out(_formatted({**record, "ClientInfo": {"Version": __version__}}, template))
        return 0
    write_out(info_text(record, __version__))
    warnings = record.get("Warnings")
    for warning in warnings if isinstance(warnings, list) else []:
        write_error(f"{warning}\n")
    return 0


def env(context: "Context", arguments: Arguments) -> int:
    """Nothing is started: the line is right before the engine runs, too."""
    from posix import environ

    shell = arguments.text("shell") or environ.get(b"SHELL", b"").decode().rpartition("/")[2]
    address = f"unix://{context.settings.socket}"
    if shell == "fish":
        line = "set -e DOCKER_HOST" if arguments.flag("unset") else f"set -gx DOCKER_HOST {address}"
    else:
        line = "unset DOCKER_HOST" if arguments.flag("unset") else f"export DOCKER_HOST={address}"
    write_out(line + "\n")
    return 0


def completion(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.completion import SHELLS, script

    shell = arguments.positional[0]
    if shell not in SHELLS:
        raise Failure(f"no completion for the shell {shell!r}", 1, f"there is one for {', '.join(SHELLS)}")
    write_out(script(shell))
    return 0
