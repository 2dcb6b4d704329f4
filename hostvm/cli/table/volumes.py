"""Volumes."""

from hostvm.cli.spec import Command, many, option, switch
from hostvm.cli.table.shared import FILTER, FORMAT, INSPECT_FORMAT

LS = Command(
    "volume ls",
    "volumes:ls",
    "List volumes",
    (FILTER, FORMAT, switch("quiet", "q", "Only display volume names")),
    examples=("hostvm volume ls", "hostvm volume ls -q --filter dangling=true"),
)
CREATE = Command(
    "volume create",
    "volumes:create",
    "Create a volume",
    (
        option("driver", "d", "string", "Specify volume driver name", "local"),
        many("label", "", "label", "Set metadata for a volume"),
        option("name", "", "string", "Specify volume name"),
        many("opt", "o", "string", "Set driver specific options"),
    ),
    "[VOLUME]",
    0,
    1,
    examples=("hostvm volume create data",),
)
RM = Command(
    "volume rm",
    "volumes:rm",
    "Remove one or more volumes",
    (switch("force", "f", "Force the removal of one or more volumes"),),
    "VOLUME [VOLUME...]",
    1,
    None,
    operand="volume",
    examples=("hostvm volume rm data",),
)
INSPECT = Command(
    "volume inspect",
    "inspect:volume",
    "Display detailed information on one or more volumes",
    (INSPECT_FORMAT,),
    "VOLUME [VOLUME...]",
    1,
    None,
    operand="volume",
)
