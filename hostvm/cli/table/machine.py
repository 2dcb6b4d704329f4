"""The machine that the engine runs on."""

from hostvm.cli.spec import Command, option, switch
from hostvm.cli.table.shared import FORMAT

LS = Command("machine ls", "machine:ls", "List machines", (FORMAT, switch("quiet", "q", "Only display names")))
START = Command("machine start", "machine:start", "Start the engine, if it isn't running")
STOP = Command(
    "machine stop",
    "machine:stop",
    "Stop the engine; containers are stopped with their stop signal",
    (
        switch("keep-containers", "", "Leave the containers running"),
        option("timeout", "t", "int", "Seconds to wait until it has ended", 60),
    ),
    examples=("hostvm machine stop", "hostvm machine stop --keep-containers"),
)
UNIT = Command(
    "machine unit",
    "machine:unit",
    "Print a systemd unit that starts the engine at boot",
    examples=("hostvm machine unit > /etc/systemd/system/hostvm.service",),
)
