"""Containers: what their streams carry."""

from hostvm.cli.spec import Command, many, option, switch
from hostvm.cli.table.shared import DETACH_KEYS

EXEC = Command(
    "exec",
    "execs:execute",
    "Execute a command in a running container",
    (
        switch("detach", "d", "Detached mode: run command in the background"),
        DETACH_KEYS,
        many("env", "e", "env", "Set environment variables"),
        many("env-file", "", "string", "Read in a file of environment variables"),
        switch("interactive", "i", "Keep STDIN open even if not attached"),
        switch("privileged", "", "Give extended privileges to the command"),
        switch("tty", "t", "Allocate a pseudo-TTY"),
        option("user", "u", "string", 'Username or UID (format: "<name|uid>[:<group|gid>]")'),
        option("workdir", "w", "string", "Working directory inside the container"),
    ),
    "CONTAINER COMMAND [ARG...]",
    2,
    None,
    interspersed=False,
    operand="running",
    examples=("hostvm exec -it web sh", "hostvm exec -u postgres db psql -c 'select 1'"),
)
ATTACH = Command(
    "attach",
    "execs:attach",
    "Attach local standard input, output, and error streams to a running container",
    (
        DETACH_KEYS,
        switch("no-stdin", "", "Do not attach STDIN"),
        switch("sig-proxy", "", "Proxy all received signals to the process", True),
    ),
    "CONTAINER",
    1,
    1,
    operand="running",
    examples=("hostvm attach shell",),
)
LOGS = Command(
    "logs",
    "logs:logs",
    "Fetch the logs of a container",
    (
        switch("details", "", "Show extra details provided to logs"),
        switch("follow", "f", "Follow log output"),
        option("since", "", "string", 'Show logs since timestamp ("2013-01-02T13:23:37Z") or relative ("42m")'),
        option("tail", "n", "string", "Number of lines to show from the end of the logs", "all"),
        switch("timestamps", "t", "Show timestamps"),
        option("until", "", "string", 'Show logs before a timestamp ("2013-01-02T13:23:37Z") or relative ("42m")'),
    ),
    "CONTAINER",
    1,
    1,
    operand="container",
    examples=("hostvm logs web", "hostvm logs -f --tail 20 web", "hostvm logs --since 10m -t web"),
)
