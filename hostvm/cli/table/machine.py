"""The machines that engines run on."""

from hostvm.cli.spec import Command, Flag, many, option, switch
from hostvm.cli.table.shared import FORMAT, INSPECT_FORMAT

NAME, NAMED = "[NAME]", "NAME"

LS = Command(
    "machine ls",
    "machine:ls",
    "List machines",
    (FORMAT, switch("quiet", "q", "Only display names")),
    examples=("hostvm machine ls", "hostvm machine ls --format json"),
)
START = Command(
    "machine start",
    "machine:start",
    "Start a machine and its engine, if they aren't running",
    (),
    NAME,
    0,
    1,
    operand="machine",
    examples=("hostvm machine start", "hostvm machine start vm"),
)
STOP = Command(
    "machine stop",
    "machine:stop",
    "Stop a machine: a VM is suspended with its containers, native containers get their stop signal",
    (
        switch("keep-containers", "", "Leave the containers running (native)"),
        switch("shutdown", "", "Stop containers and guest in place of saving their state (VM)"),
        option("timeout", "t", "int", "Seconds to wait until it has ended", 60),
    ),
    NAME,
    0,
    1,
    operand="machine",
    examples=("hostvm machine stop vm", "hostvm machine stop --shutdown vm", "hostvm machine stop --keep-containers"),
)
RESTART = Command(
    "machine restart",
    "machine:restart",
    "Shut a machine down and start it again",
    (option("timeout", "t", "int", "Seconds to wait until it has ended", 60),),
    NAME,
    0,
    1,
    operand="machine",
    examples=("hostvm machine restart vm",),
)
UNIT = Command(
    "machine unit",
    "machine:unit",
    "Print a systemd unit that starts the native engine at boot",
    examples=("hostvm machine unit > /etc/systemd/system/hostvm.service",),
)


def _resources(share: Flag, *others: Flag) -> tuple[Flag, ...]:
    return (
        option("cpus", "", "int", "Number of CPUs"),
        option("memory", "", "mebibytes", 'Memory: "4g", "512m"; a bare number is MiB'),
        option("disk", "", "gibibytes", 'Size of the data disk: "64g"; a bare number is GiB'),
        share,
        option("idle", "", "duration", 'Suspend after this time without work: "10m"; "off" for never'),
        *others,
    )


CREATE = Command(
    "machine create",
    "machine_spec:create",
    "Make a VM machine; it starts with the first command that uses it",
    _resources(
        many("share", "", "folder", "A folder of the host that containers may use (default: the home folder)"),
        option("arch", "", "string", "Architecture: x86_64 or aarch64; another one than the host's is emulated"),
    ),
    NAMED,
    1,
    1,
    examples=(
        "hostvm machine create work --cpus 4 --memory 4g --share ~/src",
        "hostvm machine create small --memory 1g --disk 16 --idle 10m",
        "hostvm machine create arm --arch aarch64",
    ),
)
SET = Command(
    "machine set",
    "machine_spec:change",
    "Change a VM machine; CPUs, memory and disk count from its next start on, all else at once",
    _resources(
        many("share", "", "folder", "A folder of the host that containers may use as well"),
        many("unshare", "", "folder", "A shared folder that they may use no longer"),
        many("port-rule", "", "string", 'What may be published: "deny=22,8000-8100", "bind=127.0.0.1"; "deny=" undoes'),
    ),
    NAME,
    0,
    1,
    operand="machine",
    examples=("hostvm machine set --memory 8g vm", "hostvm machine set --share /srv/data --unshare ~/old vm"),
)
INSPECT = Command(
    "machine inspect",
    "machine_spec:inspect",
    "Display detailed information on one or more machines",
    (INSPECT_FORMAT,),
    "[NAME...]",
    0,
    None,
    operand="machine",
    examples=("hostvm machine inspect vm", "hostvm machine inspect -f '{{.State}}' vm"),
)
RM = Command(
    "machine rm",
    "machine_spec:rm",
    "Remove VM machines with everything in them: containers, images, volumes",
    (switch("force", "f", "Don't ask, and remove running ones too"),),
    "NAME [NAME...]",
    1,
    None,
    operand="machine",
    examples=("hostvm machine rm work", "hostvm machine rm -f work"),
)
RESET = Command(
    "machine reset",
    "machine_spec:reset",
    "Empty a VM machine: its settings stay; containers, images and volumes go",
    (switch("force", "f", "Don't ask"),),
    NAME,
    0,
    1,
    operand="machine",
    examples=("hostvm machine reset -f vm",),
)
SHELL = Command(
    "machine shell",
    "machine_shell:shell",
    "Open a shell in the guest, in the folder that you stand in when it is shared",
    (switch("forward-agent", "A", "Let the guest use your ssh agent"),),
    NAME,
    0,
    1,
    operand="machine",
    examples=("hostvm machine shell vm",),
)
SSH = Command(
    "machine ssh",
    "machine_shell:ssh",
    "Run a command in the guest: one word as a line of shell, several as they are",
    (switch("forward-agent", "A", "Let the guest use your ssh agent"),),
    "[NAME] [-- COMMAND [ARG...]]",
    0,
    None,
    operand="machine",
    examples=(
        "hostvm machine ssh vm -- uname -a",
        "hostvm machine ssh vm -- 'dmesg | tail'",
        "hostvm machine ssh -A vm -- git pull",
    ),
)
CP = Command(
    "machine cp",
    "machine_copy:cp",
    "Copy files and folders between the host and a guest",
    (),
    "NAME:SRC DST | SRC NAME:DST",
    2,
    2,
    examples=("hostvm machine cp notes.txt vm:/tmp/", "hostvm machine cp vm:/var/log ./log"),
)
LOGS = Command(
    "machine logs",
    "machine_logs:logs",
    "Show what a VM machine's console, guest programs and supervisor said",
    (
        switch("follow", "f", "Follow log output"),
        option("tail", "n", "string", "Number of lines to show from the end of each log", "all"),
        many("source", "", "string", "Only this log: console, guest, supervisor"),
    ),
    NAME,
    0,
    1,
    operand="machine",
    examples=("hostvm machine logs vm", "hostvm machine logs -f --source guest vm"),
)
DOCTOR = Command(
    "machine doctor",
    "doctor:doctor",
    "Look for what keeps a machine from working, and say what to do",
    (option("bundle", "", "string", "Also pack logs and findings, without secrets, into this .tar.gz"),),
    NAME,
    0,
    1,
    operand="machine",
    examples=("hostvm machine doctor vm", "hostvm machine doctor --bundle report.tar.gz vm"),
)
BUILD_IMAGE = Command(
    "machine build-image",
    "machine_image:build",
    "Build the guest's image from Debian's packages; the first start does it by itself",
    (
        option("arch", "", "string", "Architecture: x86_64, aarch64 (default: this host's)"),
        switch("update-lock", "", "Take the newest packages, and write their versions to the lock file"),
    ),
    examples=("hostvm machine build-image", "hostvm machine build-image --arch aarch64"),
)
CONTEXT = Command(
    "machine context",
    "machine_context:context",
    "Make a docker context for a machine, so that `docker --context` finds it",
    (
        switch("use", "", "Also make it docker's current context"),
        switch("rm", "", "Remove it"),
    ),
    NAME,
    0,
    1,
    operand="machine",
    examples=("hostvm machine context vm", "hostvm machine context --rm vm"),
)
