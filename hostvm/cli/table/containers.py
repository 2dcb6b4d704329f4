"""Containers: what lists them and what changes their state."""

from hostvm.cli.spec import Command, option, switch
from hostvm.cli.table.shared import DETACH_KEYS, FILTER, FORMAT, INSPECT_FORMAT

ONE, SOME = "CONTAINER", "CONTAINER [CONTAINER...]"

PS = Command(
    "ps",
    "containers:ps",
    "List containers",
    (
        switch("all", "a", "Show all containers (default shows just running)"),
        FILTER,
        FORMAT,
        option("last", "n", "int", "Show n last created containers (includes all states)", -1),
        switch("latest", "l", "Show the latest created container (includes all states)"),
        switch("no-trunc", "", "Don't truncate output"),
        switch("quiet", "q", "Only display container IDs"),
        switch("size", "s", "Display total file sizes"),
    ),
    examples=(
        "hostvm ps -a",
        "hostvm ps --filter status=exited -q",
        "hostvm ps --format '{{.Names}}: {{.Status}}'",
    ),
)
START = Command(
    "start",
    "containers:start",
    "Start one or more stopped containers",
    (
        switch("attach", "a", "Attach STDOUT/STDERR and forward signals"),
        DETACH_KEYS,
        switch("interactive", "i", "Attach container's STDIN"),
    ),
    SOME,
    1,
    None,
    operand="container",
    examples=("hostvm start web", "hostvm start -ai shell"),
)
STOP = Command(
    "stop",
    "containers:stop",
    "Stop one or more running containers",
    (
        option("signal", "s", "string", "Signal to send to the container"),
        option("timeout", "t", "int", "Seconds to wait before killing the container"),
        option("time", "", "int", "Same as --timeout"),
    ),
    SOME,
    1,
    None,
    operand="running",
    examples=("hostvm stop web", "hostvm stop -t 30 mysql"),
)
RESTART = Command(
    "restart",
    "containers:restart",
    "Restart one or more containers",
    STOP.flags,
    SOME,
    1,
    None,
    operand="container",
    examples=("hostvm restart web",),
)
KILL = Command(
    "kill",
    "containers:kill",
    "Kill one or more running containers",
    (option("signal", "s", "string", "Signal to send to the container"),),
    SOME,
    1,
    None,
    operand="running",
    examples=("hostvm kill web", "hostvm kill -s HUP nginx"),
)
RM = Command(
    "rm",
    "containers:rm",
    "Remove one or more containers",
    (
        switch("force", "f", "Force the removal of a running container (uses SIGKILL)"),
        switch("link", "l", "Remove the specified link"),
        switch("volumes", "v", "Remove anonymous volumes associated with the container"),
    ),
    SOME,
    1,
    None,
    operand="container",
    examples=("hostvm rm web", "hostvm rm -f $(hostvm ps -aq)"),
)
WAIT = Command(
    "wait",
    "containers:wait",
    "Block until one or more containers stop, then print their exit codes",
    (),
    SOME,
    1,
    None,
    operand="running",
    examples=("hostvm wait job",),
)
PAUSE = Command(
    "pause",
    "containers:pause",
    "Pause all processes within one or more containers",
    (),
    SOME,
    1,
    None,
    operand="running",
)
UNPAUSE = Command(
    "unpause",
    "containers:unpause",
    "Unpause all processes within one or more containers",
    (),
    SOME,
    1,
    None,
    operand="container",
)
RENAME = Command(
    "rename", "containers:rename", "Rename a container", (), "CONTAINER NEW_NAME", 2, 2, operand="container"
)
TOP = Command(
    "top",
    "containers:top",
    "Display the running processes of a container",
    (),
    "CONTAINER [ps OPTIONS]",
    1,
    None,
    interspersed=False,
    operand="running",
)
STATS = Command(
    "stats",
    "stats:stats",
    "Display a live stream of container(s) resource usage statistics",
    (
        switch("all", "a", "Show all containers (default shows just running)"),
        FORMAT,
        switch("no-stream", "", "Disable streaming stats and only pull the first result"),
        switch("no-trunc", "", "Do not truncate output"),
    ),
    "[CONTAINER...]",
    0,
    None,
    operand="running",
    examples=("hostvm stats", "hostvm stats --no-stream --format '{{.Name}}: {{.CPUPerc}}'"),
)
PORT = Command(
    "port",
    "containers:port",
    "List port mappings or a specific mapping for the container",
    (),
    "CONTAINER [PRIVATE_PORT[/PROTO]]",
    1,
    2,
    operand="running",
    examples=("hostvm port web", "hostvm port web 80/tcp"),
)
INSPECT = Command(
    "container inspect",
    "inspect:container",
    "Display detailed information on one or more containers",
    (INSPECT_FORMAT, switch("size", "s", "Display total file sizes")),
    SOME,
    1,
    None,
    operand="container",
    examples=("hostvm container inspect -f '{{.State.Status}}' web",),
)
UPDATE = Command(
    "update",
    "update:update",
    "Update configuration of one or more containers",
    (
        option("blkio-weight", "", "uint16", "Block IO (relative weight), between 10 and 1000, or 0 to disable"),
        option("cpu-period", "", "int", "Limit CPU CFS (Completely Fair Scheduler) period"),
        option("cpu-quota", "", "int", "Limit CPU CFS (Completely Fair Scheduler) quota"),
        option("cpu-rt-period", "", "int", "Limit the CPU real-time period in microseconds"),
        option("cpu-rt-runtime", "", "int", "Limit the CPU real-time runtime in microseconds"),
        option("cpu-shares", "c", "int", "CPU shares (relative weight)"),
        option("cpus", "", "cpus", "Number of CPUs"),
        option("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)"),
        option("cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)"),
        option("kernel-memory", "", "size", "Gone from kernels: has no effect"),
        option("memory", "m", "size", "Memory limit"),
        option("memory-reservation", "", "size", "Memory soft limit"),
        option("memory-swap", "", "swap", "Limit of memory plus swap; -1 to enable unlimited swap"),
        option("pids-limit", "", "int", "Tune container pids limit (set -1 for unlimited)"),
        option("restart", "", "string", "Restart policy to apply when a container exits"),
    ),
    SOME,
    1,
    None,
    operand="container",
    examples=("hostvm update -m 512m --memory-swap 1g web", "hostvm update --restart always web"),
)
