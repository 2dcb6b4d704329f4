"""What removes everything that isn't used."""

from hostvm.cli.spec import Command, switch
from hostvm.cli.table.shared import PRUNE_FILTER

_FORCE = switch("force", "f", "Do not prompt for confirmation")

CONTAINER = Command("container prune", "pruning:containers", "Remove all stopped containers", (PRUNE_FILTER, _FORCE))
IMAGE = Command(
    "image prune",
    "pruning:images",
    "Remove unused images",
    (switch("all", "a", "Remove all unused images, not just dangling ones"), PRUNE_FILTER, _FORCE),
)
NETWORK = Command("network prune", "pruning:networks", "Remove all unused networks", (PRUNE_FILTER, _FORCE))
VOLUME = Command(
    "volume prune",
    "pruning:volumes",
    "Remove unused local volumes",
    (switch("all", "a", "Remove all unused volumes, not just anonymous ones"), PRUNE_FILTER, _FORCE),
)
SYSTEM = Command(
    "system prune",
    "pruning:system",
    "Remove unused data",
    (
        switch("all", "a", "Remove all unused images not just dangling ones"),
        PRUNE_FILTER,
        _FORCE,
        switch("volumes", "", "Prune anonymous volumes"),
    ),
)
