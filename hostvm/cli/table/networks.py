"""Networks."""

from hostvm.cli.spec import Command, switch
from hostvm.cli.table.shared import FILTER, FORMAT, INSPECT_FORMAT

LS = Command(
    "network ls",
    "networks:ls",
    "List networks",
    (
        FILTER,
        FORMAT,
        switch("no-trunc", "", "Do not truncate the output"),
        switch("quiet", "q", "Only display network IDs"),
    ),
    examples=("hostvm network ls",),
)
INSPECT = Command(
    "network inspect",
    "inspect:network",
    "Display detailed information on one or more networks",
    (INSPECT_FORMAT, switch("verbose", "v", "Verbose output for diagnostics")),
    "NETWORK [NETWORK...]",
    1,
    None,
    operand="network",
    examples=("hostvm network inspect bridge",),
)
