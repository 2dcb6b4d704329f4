"""`machine context`: a docker context for a machine, in docker's own store of them.

`docker context create` would refuse one that exists, and needs docker's command line installed.
"""

from __future__ import annotations

from hostvm.cli.arguments import Arguments
from hostvm.cli.docker_config import docker_folder
from hostvm.cli.docker_contexts import remove_context, use_context, write_context
from hostvm.cli.failure import Failure
from hostvm.cli.machine_choice import choose, have_machine
from hostvm.cli.output import write_out
from hostvm.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context


def context(context: Context, arguments: Arguments) -> int:
    settings = context.settings
    name = choose(settings, arguments.positional)
    folder = docker_folder()
    if arguments.flag("rm"):
        remove_context(folder, context_name(name))
    else:
        if not have_machine(settings, name):
            raise Failure(f"there is no machine named {name!r}", 1, f"make it: hostvm machine create {name}")
        write_context(folder, plan_context(settings))
        if arguments.flag("use"):
            use_context(folder, context_name(name))
    write_out(context_name(name) + "\n")
    return 0


def context_name(machine: str) -> str:
    """As other tools that make contexts have it: the tool's name, then what it is about."""
    return f"hostvm-{machine}"


def plan_context(settings: Settings) -> dict[str, object]:
    """The content of meta.json."""
    return {
        "Name": context_name(settings.machine),
        "Metadata": {"Description": f"hostvm's machine {settings.machine}"},
        "Endpoints": {"docker": {"Host": f"unix://{settings.socket}", "SkipTLSVerify": False}},
    }
