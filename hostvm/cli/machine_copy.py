"""`machine cp`: files and folders between the host and a guest, by SFTP."""

from __future__ import annotations

from dataclasses import dataclass

from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure
from hostvm.cli.machine_choice import choose, have_machine
from hostvm.cli.machine_shell import open_transport
from hostvm.cli.output import write_error
from hostvm.machines.ssh.copy import Copier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context


@dataclass(frozen=True, slots=True)
class Place:
    """One side of a copy; `machine` "" is the host."""

    machine: str
    path: str


def cp(context: Context, arguments: Arguments) -> int:
    source, target = (parse_place(text) for text in arguments.positional)
    machine = check_places(source, target)
    if not have_machine(context.settings, machine):
        hint = f"a file of the host whose name has a colon: ./{machine}:…"
        raise Failure(f"there is no machine named {machine!r}", 1, hint)
    choose(context.settings, [machine])
    transport = open_transport(context)
    try:
        copier = Copier(transport)
        if source.machine:
            copier.download(source.path, target.path)
        else:
            copier.upload(source.path, target.path)
    finally:
        transport.close()
    for path in copier.skipped:
        write_error(f"left out, as it is no file, folder or link: {path}\n")
    return 1 if copier.skipped else 0


def parse_place(text: str) -> Place:
    """`NAME:PATH`, or a path of the host: one that starts with `/` or `.`, or has no colon before its first slash."""
    name, colon, path = text.partition(":")
    if text.startswith((".", "/")) or not colon or "/" in name or not name:
        return Place("", text)
    return Place(name, path or ".")


def check_places(source: Place, target: Place) -> str:
    """The one machine that is meant. Raises Failure."""
    if source.machine and target.machine:
        raise Failure("copying between machines is not supported", 125, "copy to the host first")
    if not source.machine and not target.machine:
        raise Failure("must specify at least one machine", 125, "write its side as NAME:PATH")
    return source.machine or target.machine
