"""The engine itself, and what isn't one noun's."""

from hostvm.cli.spec import Command, option, switch
from hostvm.cli.table.shared import FILTER, FORMAT, INSPECT_FORMAT

CHECK = Command(
    "system check",
    "checking:check",
    "Compare the engine's records with its disk, and verify every digest",
    (switch("repair", "", "Fetch again what is damaged, and set aside what can't be fetched"),),
    examples=("hostvm system check", "hostvm system check --repair"),
)
DF = Command(
    "system df",
    "disk_usage:df",
    "Show how much the engine takes on the disk",
    (FORMAT, switch("verbose", "v", "Show detailed information on space usage")),
    examples=("hostvm system df -v",),
)
INFO = Command("info", "system:info", "Display system-wide information", (INSPECT_FORMAT,))
VERSION = Command("version", "system:version", "Show the version information of client and engine", (INSPECT_FORMAT,))
EVENTS = Command(
    "events",
    "events:events",
    "Get real time events from the server",
    (
        FILTER,
        option("format", "", "string", 'Format output: "json" or a Go template'),
        option("since", "", "string", "Show all events created since timestamp"),
        option("until", "", "string", "Stream events until this timestamp"),
    ),
    examples=("hostvm events --since 10m --filter type=container",),
)
INSPECT = Command(
    "inspect",
    "inspect:anything",
    "Return low-level information on containers, images, networks and volumes",
    (
        INSPECT_FORMAT,
        switch("size", "s", "Display total file sizes if the type is container"),
        option("type", "", "string", "Only inspect objects of the given type"),
    ),
    "NAME|ID [NAME|ID...]",
    1,
    None,
    operand="container",
    examples=("hostvm inspect web", "hostvm inspect -f '{{.NetworkSettings.IPAddress}}' web"),
)
ENV = Command(
    "env",
    "system:env",
    "Print the setting by which docker's clients find this engine",
    (option("shell", "", "string", "For this shell: bash, fish"), switch("unset", "u", "Print how to undo it")),
    examples=('eval "$(hostvm env)" && docker ps',),
)
COMPOSE = Command(
    "compose",
    "compose:compose",
    "Run the installed compose (docker's plugin, or docker-compose) with this engine",
    (),
    "[ARG...]",
    0,
    None,
    interspersed=False,
    examples=("hostvm compose up -d", "hostvm compose logs -f web"),
)
DOCTOR = Command(
    "doctor",
    "doctor:doctor",
    "Look for what keeps hostvm from working, and say what to do",
    (option("bundle", "", "string", "Also pack logs and findings, without secrets, into this .tar.gz"),),
    examples=("hostvm doctor", "hostvm doctor --bundle report.tar.gz"),
)
COMPLETION = Command(
    "completion",
    "system:completion",
    "Print the shell's completion script",
    (),
    "bash|zsh|fish",
    1,
    1,
    operand="shell",
    examples=(
        "hostvm completion bash > /etc/bash_completion.d/hostvm",
        "hostvm completion fish > ~/.config/fish/completions/hostvm.fish",
    ),
)
